//! Sums over bytes, as serial protocols use them.

/// All bytes, modulo 256.
pub fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// All bytes, exclusive or.
pub fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// CRC-16/MODBUS: polynomial 0x8005 reflected, begins with all ones (MODBUS over serial line V1.02, 6.2.2).
pub fn crc16_modbus(bytes: &[u8]) -> u16 {
    let shifted = |crc: u16| if crc & 1 == 1 { (crc >> 1) ^ 0xa001 } else { crc >> 1 };
    bytes.iter().fold(0xffff, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| shifted(crc)))
}

/// CRC-16/IBM-3740: polynomial 0x1021 of ITU-T V.41, begins with all ones. What most manuals call CRC-CCITT.
pub fn crc16_ccitt(bytes: &[u8]) -> u16 {
    let shifted = |crc: u16| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
    bytes.iter().fold(0xffff, |crc, byte| (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| shifted(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_come_out() {
        let check = b"123456789";
        assert_eq!(sum(check), 0xdd);
        assert_eq!(xor(check), 0x31);
        assert_eq!(crc16_modbus(check), 0x4b37);
        assert_eq!(crc16_ccitt(check), 0x29b1);
        assert_eq!((sum(b""), xor(b""), crc16_modbus(b"")), (0, 0, 0xffff));
    }
}
