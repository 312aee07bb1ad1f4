// SPDX-License-Identifier: GPL-2.0
/*
 * day1_init_oops - its init uses a bad address
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compiler.h>
#include <linux/module.h>

static int __init day1_init_oops_init(void)
{
	int *nowhere = NULL;

	/* Out of sight of the compiler, which would drop the access. */
	OPTIMIZER_HIDE_VAR(nowhere);
	pr_info("about to write to a bad address\n");
	*nowhere = 1;
	return 0;
}
module_init(day1_init_oops_init);

static void __exit day1_init_oops_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_init_oops_exit);

MODULE_DESCRIPTION("Out-of-tree module whose init oopses");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
