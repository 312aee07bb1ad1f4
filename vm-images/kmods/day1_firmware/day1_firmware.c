// SPDX-License-Identifier: GPL-2.0
/*
 * day1_firmware - asks for a firmware file as soon as it is loaded
 *
 * And for one of an in-tree driver, where the node has one: after a change of
 * the kernel's firmware path both must still be found.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/firmware.h>
#include <linux/module.h>
#include <linux/platform_device.h>

#define DAY1_FIRMWARE_FILE	"day1/day1_firmware.bin"

static char *in_tree;
module_param(in_tree, charp, 0444);
MODULE_PARM_DESC(in_tree, "another firmware file to ask for");

static struct platform_device *day1_firmware_device;

static int day1_firmware_ask(const char *name)
{
	const struct firmware *firmware;
	int err;

	err = request_firmware_direct(&firmware, name,
				      &day1_firmware_device->dev);
	if (err) {
		pr_err("cannot load firmware %s: error %d\n", name, err);
		return err;
	}

	pr_info("firmware %s has %zu bytes\n", name, firmware->size);
	release_firmware(firmware);
	return 0;
}

static int __init day1_firmware_init(void)
{
	int err;

	day1_firmware_device =
		platform_device_register_simple(KBUILD_MODNAME, -1, NULL, 0);
	if (IS_ERR(day1_firmware_device))
		return PTR_ERR(day1_firmware_device);

	err = day1_firmware_ask(DAY1_FIRMWARE_FILE);
	if (!err && in_tree)
		err = day1_firmware_ask(in_tree);
	if (err)
		platform_device_unregister(day1_firmware_device);

	return err;
}
module_init(day1_firmware_init);

static void __exit day1_firmware_exit(void)
{
	platform_device_unregister(day1_firmware_device);
	pr_info("unloaded\n");
}
module_exit(day1_firmware_exit);

MODULE_FIRMWARE(DAY1_FIRMWARE_FILE);
MODULE_DESCRIPTION("Out-of-tree module that needs firmware");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION("1.0.0");
MODULE_LICENSE("GPL");
