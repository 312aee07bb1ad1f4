// SPDX-License-Identifier: GPL-2.0
/*
 * day1_parameter - can't be loaded without its parameter
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

static int mode;
module_param(mode, int, 0444);
MODULE_PARM_DESC(mode, "1 or 2; there is no default");

static int __init day1_parameter_init(void)
{
	if (mode != 1 && mode != 2) {
		pr_err("parameter mode must be 1 or 2, not %d\n", mode);
		return -EINVAL;
	}

	pr_info("loaded with mode %d\n", mode);
	return 0;
}
module_init(day1_parameter_init);

static void __exit day1_parameter_exit(void)
{
	pr_info("unloaded\n");
}
module_exit(day1_parameter_exit);

MODULE_DESCRIPTION("Out-of-tree module with a required parameter");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
