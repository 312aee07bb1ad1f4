// SPDX-License-Identifier: GPL-2.0
/*
 * day1_aux - a second out-of-tree module: one interface without hardware
 *
 * For nodes that load two modules from two driver images.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/module.h>
#include <linux/netdevice.h>

#define DAY1_AUX_VERSION	"1.0.0"

static struct net_device *day1_aux_netdev;

static netdev_tx_t day1_aux_start_xmit(struct sk_buff *skb,
				       struct net_device *netdev)
{
	netdev->stats.tx_dropped++;
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops day1_aux_netdev_ops = {
	.ndo_start_xmit		= day1_aux_start_xmit,
	.ndo_set_mac_address	= eth_mac_addr,
	.ndo_validate_addr	= eth_validate_addr,
};

static void day1_aux_get_drvinfo(struct net_device *netdev,
				 struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->version, DAY1_AUX_VERSION, sizeof(info->version));
}

static const struct ethtool_ops day1_aux_ethtool_ops = {
	.get_drvinfo	= day1_aux_get_drvinfo,
	.get_link	= ethtool_op_get_link,
};

static void day1_aux_setup(struct net_device *netdev)
{
	ether_setup(netdev);
	netdev->netdev_ops = &day1_aux_netdev_ops;
	netdev->ethtool_ops = &day1_aux_ethtool_ops;
	eth_hw_addr_random(netdev);
}

static int __init day1_aux_init(void)
{
	int err;

	day1_aux_netdev = alloc_netdev(0, "day1aux%d", NET_NAME_ENUM,
				       day1_aux_setup);
	if (!day1_aux_netdev)
		return -ENOMEM;
	netif_carrier_off(day1_aux_netdev);

	err = register_netdev(day1_aux_netdev);
	if (err) {
		pr_err("cannot register the interface: %d\n", err);
		free_netdev(day1_aux_netdev);
		return err;
	}

	pr_info("version %s loaded as %s\n", DAY1_AUX_VERSION,
		day1_aux_netdev->name);
	return 0;
}
module_init(day1_aux_init);

static void __exit day1_aux_exit(void)
{
	pr_info("version %s unloaded, %s\n", DAY1_AUX_VERSION,
		day1_aux_netdev->name);
	unregister_netdev(day1_aux_netdev);
	free_netdev(day1_aux_netdev);
}
module_exit(day1_aux_exit);

MODULE_DESCRIPTION("Out-of-tree interface without hardware");
MODULE_AUTHOR("The day1 authors");
MODULE_VERSION(DAY1_AUX_VERSION);
MODULE_LICENSE("GPL");
