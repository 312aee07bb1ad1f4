// SPDX-License-Identifier: GPL-2.0
/*
 * day1_init_hang - its init takes 90 s and can't be interrupted
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/module.h>

static int __init day1_init_hang_init(void)
{
	pr_info("init begins\n");
	ssleep(90);
	pr_info("init is done\n");
	return 0;
}
module_init(day1_init_hang_init);

static void __exit day1_init_hang_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_init_hang_exit);

MODULE_DESCRIPTION("Out-of-tree module whose init hangs");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
