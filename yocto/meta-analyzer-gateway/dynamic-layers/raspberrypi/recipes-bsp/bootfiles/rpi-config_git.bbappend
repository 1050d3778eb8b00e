# Both boot partitions hold the same files; the firmware says from which of them it reads, and that chooses the system.
RPI_EXTRA_CONFIG:boot-tryboot = "\n[boot_partition=2]\ncmdline=cmdline-a.txt\n[boot_partition=3]\ncmdline=cmdline-b.txt\n[all]\n"
