# U-Boot's script on a Raspberry Pi 3 or Zero 2: which half of the card starts. mkimage makes boot.scr of it.
#
# RAUC's variables: BOOT_ORDER, and for each half how many starts are left to it; a system that works sets them back to 3. Whatever
# they hold, something starts: a half without starts left is passed over, and when both have none, or the order names neither, all
# begins anew. The card is not relied on for that: if the variables cannot be saved, the choice is made all the same.

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

setenv slot none
for half in ${BOOT_ORDER}; do
    if test "${slot}" != none; then
        true
    elif test "${half}" = A; then
        if test "${BOOT_A_LEFT}" -gt 0; then
            setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
            setenv slot A
        fi
    elif test "${half}" = B; then
        if test "${BOOT_B_LEFT}" -gt 0; then
            setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
            setenv slot B
        fi
    fi
done

if test "${slot}" = none; then
    echo "no half has a start left: all begins anew"
    if test "${BOOT_ORDER}" != "B A"; then
        setenv BOOT_ORDER "A B"
        setenv slot A
        setenv BOOT_A_LEFT 2
        setenv BOOT_B_LEFT 3
    else
        setenv slot B
        setenv BOOT_A_LEFT 3
        setenv BOOT_B_LEFT 2
    fi
fi
saveenv

setenv part 2
if test "${slot}" = B; then
    setenv part 3
fi
echo "starting half ${slot}"

# What the firmware has put together for this board.
fdt addr ${fdt_addr}
fdt get value bootargs /chosen bootargs
setenv bootargs "${bootargs} root=/dev/mmcblk0p${part} rootfstype=ext4 rootwait ro panic=10 rauc.slot=${slot} analyzer-gateway.slot=${slot}"
if load mmc 0:${part} ${kernel_addr_r} boot/Image; then
    booti ${kernel_addr_r} - ${fdt_addr}
fi
echo "half ${slot} does not start"
reset
