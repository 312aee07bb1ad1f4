// SPDX-License-Identifier: GPL-2.0
/*
 * day1_nic - a vendor's out-of-tree NIC driver, reduced to what loading it takes
 *
 * It claims the Intel 82540EM that QEMU emulates as "e1000", which the in-tree
 * e1000 driver claims as well: one of the two has to leave before the other can
 * bind. The interface has the device's own MAC address, so that it is the same
 * NIC under either driver. It carries traffic the plainest way: one ring of
 * legacy descriptors each way, one interrupt, no offloads.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/version.h>

#include "day1_nic.h"

#define DAY1_NIC_VERSION	"1.0.0"

/* What a vendor's driver does wrong when it meets a device; each is off by
 * default.
 */
static bool probe_fails;
module_param(probe_fails, bool, 0444);
MODULE_PARM_DESC(probe_fails, "Refuse every device with -EIO");

static unsigned int probe_delay_ms;
module_param(probe_delay_ms, uint, 0444);
MODULE_PARM_DESC(probe_delay_ms, "Sleep so long before taking a device, in milliseconds");

static bool probe_warns;
module_param(probe_warns, bool, 0444);
MODULE_PARM_DESC(probe_warns, "Let the kernel warn, with a stack trace, for every device");

static bool probe_leaks;
module_param(probe_leaks, bool, 0444);
MODULE_PARM_DESC(probe_leaks, "Keep a reference to the module for every device: it can't be unloaded any more");

static int day1_nic_read_eeprom(struct day1_nic *nic, u32 word, u16 *data)
{
	u32 eerd;
	int err;

	writel((word << DAY1_NIC_EERD_ADDR) | DAY1_NIC_EERD_START,
	       nic->regs + DAY1_NIC_EERD);
	err = readl_poll_timeout(nic->regs + DAY1_NIC_EERD, eerd,
				 eerd & DAY1_NIC_EERD_DONE,
				 DAY1_NIC_EERD_POLL_US,
				 DAY1_NIC_EERD_TIMEOUT_US);
	if (err)
		return err;

	*data = eerd >> DAY1_NIC_EERD_DATA;
	return 0;
}

/* The receive address register holds what the in-tree driver or the firmware
 * left there; without one, the EEPROM has the address of the factory.
 */
static int day1_nic_read_mac(struct day1_nic *nic, u8 *mac)
{
	u32 low = readl(nic->regs + DAY1_NIC_RAL0);
	u32 high = readl(nic->regs + DAY1_NIC_RAH0);
	u16 word;
	int err;
	int i;

	if (high & DAY1_NIC_RAH_AV) {
		mac[0] = low;
		mac[1] = low >> 8;
		mac[2] = low >> 16;
		mac[3] = low >> 24;
		mac[4] = high;
		mac[5] = high >> 8;
		if (is_valid_ether_addr(mac))
			return 0;
	}

	for (i = 0; i < ETH_ALEN / 2; i++) {
		err = day1_nic_read_eeprom(nic, i, &word);
		if (err)
			return err;
		mac[2 * i] = word;
		mac[2 * i + 1] = word >> 8;
	}

	return is_valid_ether_addr(mac) ? 0 : -EADDRNOTAVAIL;
}

static void day1_nic_set_mac(struct net_device *netdev, const u8 *mac)
{
	/* RHEL 9 says 5.14 and has the later function. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 15, 0) || defined(RHEL_RELEASE_CODE)
	eth_hw_addr_set(netdev, mac);
#else
	ether_addr_copy(netdev->dev_addr, mac);
#endif
}

static const struct net_device_ops day1_nic_netdev_ops = {
	.ndo_open		= day1_nic_open,
	.ndo_stop		= day1_nic_stop,
	.ndo_start_xmit		= day1_nic_start_xmit,
	.ndo_set_mac_address	= eth_mac_addr,
	.ndo_validate_addr	= eth_validate_addr,
};

static void day1_nic_get_drvinfo(struct net_device *netdev,
				 struct ethtool_drvinfo *info)
{
	struct day1_nic *nic = netdev_priv(netdev);

	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->version, DAY1_NIC_VERSION, sizeof(info->version));
	strscpy(info->bus_info, pci_name(nic->pdev), sizeof(info->bus_info));
}

static const struct ethtool_ops day1_nic_ethtool_ops = {
	.get_drvinfo	= day1_nic_get_drvinfo,
	.get_link	= ethtool_op_get_link,
};

static int day1_nic_map(struct day1_nic *nic)
{
	struct pci_dev *pdev = nic->pdev;
	int err;

	err = pci_enable_device_mem(pdev);
	if (err) {
		dev_err(&pdev->dev, "cannot enable the device: %d\n", err);
		return err;
	}

	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (err) {
		dev_err(&pdev->dev, "cannot use 32 bit DMA: %d\n", err);
		goto err_disable;
	}

	err = pci_request_region(pdev, DAY1_NIC_BAR, KBUILD_MODNAME);
	if (err) {
		dev_err(&pdev->dev, "cannot reserve BAR %d: %d\n",
			DAY1_NIC_BAR, err);
		goto err_disable;
	}

	if (pci_resource_len(pdev, DAY1_NIC_BAR) < DAY1_NIC_BAR_LEN) {
		dev_err(&pdev->dev, "BAR %d is too short\n", DAY1_NIC_BAR);
		err = -ENODEV;
		goto err_release;
	}

	nic->regs = pci_iomap(pdev, DAY1_NIC_BAR, DAY1_NIC_BAR_LEN);
	if (!nic->regs) {
		dev_err(&pdev->dev, "cannot map BAR %d\n", DAY1_NIC_BAR);
		err = -ENOMEM;
		goto err_release;
	}

	pci_set_master(pdev);
	return 0;

err_release:
	pci_release_region(pdev, DAY1_NIC_BAR);
err_disable:
	pci_disable_device(pdev);
	return err;
}

static void day1_nic_unmap(struct day1_nic *nic)
{
	pci_iounmap(nic->pdev, nic->regs);
	pci_release_region(nic->pdev, DAY1_NIC_BAR);
	pci_disable_device(nic->pdev);
}

static int day1_nic_misbehave(struct pci_dev *pdev)
{
	if (probe_leaks)
		__module_get(THIS_MODULE);
	WARN(probe_warns, KBUILD_MODNAME ": warning of %s as asked\n",
	     pci_name(pdev));
	if (probe_delay_ms) {
		dev_info(&pdev->dev, "takes %u ms\n", probe_delay_ms);
		msleep(probe_delay_ms);
	}
	if (!probe_fails)
		return 0;

	dev_err(&pdev->dev, "refused as asked\n");
	return -EIO;
}

static int day1_nic_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct net_device *netdev;
	struct day1_nic *nic;
	u8 mac[ETH_ALEN];
	int err;

	err = day1_nic_misbehave(pdev);
	if (err)
		return err;

	netdev = alloc_etherdev(sizeof(*nic));
	if (!netdev)
		return -ENOMEM;

	SET_NETDEV_DEV(netdev, &pdev->dev);
	netdev->netdev_ops = &day1_nic_netdev_ops;
	netdev->ethtool_ops = &day1_nic_ethtool_ops;
	nic = netdev_priv(netdev);
	nic->pdev = pdev;
	nic->netdev = netdev;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
	netif_napi_add(netdev, &nic->napi, day1_nic_poll);
#else
	netif_napi_add(netdev, &nic->napi, day1_nic_poll, NAPI_POLL_WEIGHT);
#endif

	err = day1_nic_map(nic);
	if (err)
		goto err_free;

	/* Whatever the driver before left running. */
	day1_nic_quiesce(nic);

	err = day1_nic_read_mac(nic, mac);
	if (err) {
		dev_err(&pdev->dev, "cannot read the MAC address: %d\n", err);
		goto err_unmap;
	}
	day1_nic_set_mac(netdev, mac);
	netif_carrier_off(netdev);

	err = register_netdev(netdev);
	if (err) {
		dev_err(&pdev->dev, "cannot register the interface: %d\n", err);
		goto err_unmap;
	}

	pci_set_drvdata(pdev, netdev);
	pr_info("version %s bound to %s as %s, %pM\n", DAY1_NIC_VERSION,
		pci_name(pdev), netdev->name, netdev->dev_addr);
	return 0;

err_unmap:
	day1_nic_unmap(nic);
err_free:
	free_netdev(netdev);
	return err;
}

static void day1_nic_remove(struct pci_dev *pdev)
{
	struct net_device *netdev = pci_get_drvdata(pdev);

	pr_info("version %s leaves %s, %s\n", DAY1_NIC_VERSION, pci_name(pdev),
		netdev->name);
	unregister_netdev(netdev);
	day1_nic_unmap(netdev_priv(netdev));
	free_netdev(netdev);
}

static const struct pci_device_id day1_nic_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, 0x100e) },	/* 82540EM */
	{ }
};
MODULE_DEVICE_TABLE(pci, day1_nic_ids);

static struct pci_driver day1_nic_driver = {
	.name		= KBUILD_MODNAME,
	.id_table	= day1_nic_ids,
	.probe		= day1_nic_probe,
	.remove		= day1_nic_remove,
};

static int __init day1_nic_init(void)
{
	pr_info("version %s loaded\n", DAY1_NIC_VERSION);
	return pci_register_driver(&day1_nic_driver);
}
module_init(day1_nic_init);

static void __exit day1_nic_exit(void)
{
	pci_unregister_driver(&day1_nic_driver);
	pr_info("version %s unloaded\n", DAY1_NIC_VERSION);
}
module_exit(day1_nic_exit);

MODULE_DESCRIPTION("Out-of-tree driver for the NIC that QEMU calls e1000");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION(DAY1_NIC_VERSION);
MODULE_LICENSE("GPL");
