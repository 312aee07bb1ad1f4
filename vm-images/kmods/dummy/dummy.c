// SPDX-License-Identifier: GPL-2.0
/*
 * dummy - an out-of-tree module of the name of an in-tree one
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

static int __init dummy_init(void)
{
	pr_info("the out-of-tree one is loaded\n");
	return 0;
}
module_init(dummy_init);

static void __exit dummy_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(dummy_exit);

MODULE_DESCRIPTION("Out-of-tree module with the name of an in-tree one");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
