// SPDX-License-Identifier: GPL-2.0
/*
 * day1_top - uses a symbol of day1_base, so that it can only be loaded after it
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

/* Exported by day1_base. */
unsigned int day1_base_users(void);

static int __init day1_top_init(void)
{
	pr_info("loaded, day1_base has %u users\n", day1_base_users());
	return 0;
}
module_init(day1_top_init);

static void __exit day1_top_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_top_exit);

MODULE_DESCRIPTION("Top of a chain of out-of-tree modules");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
