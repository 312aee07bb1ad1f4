// SPDX-License-Identifier: GPL-2.0
/*
 * day1_init_error - its init finds no hardware
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

static int __init day1_init_error_init(void)
{
	pr_err("no hardware of mine is here\n");
	return -ENODEV;
}
module_init(day1_init_error_init);

static void __exit day1_init_error_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_init_error_exit);

MODULE_DESCRIPTION("Out-of-tree module whose init fails");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
