// SPDX-License-Identifier: GPL-2.0
/*
 * day1_base - what day1_top needs: one exported symbol
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

unsigned int day1_base_users(void);

unsigned int day1_base_users(void)
{
	return module_refcount(THIS_MODULE);
}
EXPORT_SYMBOL_GPL(day1_base_users);

static int __init day1_base_init(void)
{
	pr_info("loaded\n");
	return 0;
}
module_init(day1_base_init);

static void __exit day1_base_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_base_exit);

MODULE_DESCRIPTION("Base of a chain of out-of-tree modules");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
