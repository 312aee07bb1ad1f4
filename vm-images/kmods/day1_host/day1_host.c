// SPDX-License-Identifier: GPL-2.0
/*
 * day1_host - an out-of-tree module that uses symbols of an in-tree module, crc8
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/crc8.h>
#include <linux/module.h>

static u8 day1_host_table[CRC8_TABLE_SIZE];

static int __init day1_host_init(void)
{
	static const u8 data[] = { 1, 2, 3 };

	crc8_populate_msb(day1_host_table, 0x07);
	pr_info("loaded, crc8 says %u\n",
		crc8(day1_host_table, data, sizeof(data), CRC8_INIT_VALUE));
	return 0;
}
module_init(day1_host_init);

static void __exit day1_host_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_host_exit);

MODULE_DESCRIPTION("Out-of-tree module that depends on an in-tree one");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
