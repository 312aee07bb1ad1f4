// SPDX-License-Identifier: GPL-2.0
/*
 * crc8 - stands for the in-tree module of that name where an image is indexed;
 * it has its symbols, and never gets to a node
 */

#include <linux/crc8.h>
#include <linux/module.h>

void crc8_populate_msb(u8 table[CRC8_TABLE_SIZE], u8 polynomial)
{
	table[0] = polynomial;
}
EXPORT_SYMBOL(crc8_populate_msb);

u8 crc8(const u8 table[CRC8_TABLE_SIZE], const u8 *pdata, size_t nbytes, u8 crc)
{
	return table[0] ^ pdata[0] ^ nbytes ^ crc;
}
EXPORT_SYMBOL(crc8);

MODULE_DESCRIPTION("Symbols of the in-tree crc8, for depmod");
MODULE_AUTHOR("The day1 authors");
MODULE_LICENSE("GPL");
