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
#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/version.h>

#define DAY1_NIC_VERSION	"1.0.0"

#define DAY1_NIC_BAR		0
#define DAY1_NIC_BAR_LEN	0x6000	/* up to the last register used here */

/* 82540EM registers: "PCI/PCI-X Family of Gigabit Ethernet Controllers
 * Software Developer's Manual" (Intel 317453), chapter 13.
 */
#define DAY1_NIC_CTRL		0x0000	/* device control */
#define  DAY1_NIC_CTRL_ASDE	BIT(5)	/* detect the speed */
#define  DAY1_NIC_CTRL_SLU	BIT(6)	/* set link up */
#define DAY1_NIC_STATUS		0x0008
#define  DAY1_NIC_STATUS_LU	BIT(1)	/* the link is up */
#define DAY1_NIC_EERD		0x0014	/* EEPROM read */
#define  DAY1_NIC_EERD_START	BIT(0)
#define  DAY1_NIC_EERD_DONE	BIT(4)
#define  DAY1_NIC_EERD_ADDR	8	/* shift of the word's number */
#define  DAY1_NIC_EERD_DATA	16	/* shift of the word */
#define DAY1_NIC_ICR		0x00c0	/* interrupt causes; reading clears */
#define DAY1_NIC_IMS		0x00d0	/* interrupt mask set */
#define DAY1_NIC_IMC		0x00d8	/* interrupt mask clear */
#define  DAY1_NIC_INT_TXDW	BIT(0)	/* a descriptor was sent */
#define  DAY1_NIC_INT_LSC	BIT(2)	/* the link changed */
#define  DAY1_NIC_INT_RXDMT0	BIT(4)	/* few descriptors left to receive into */
#define  DAY1_NIC_INT_RXO	BIT(6)	/* none left */
#define  DAY1_NIC_INT_RXT0	BIT(7)	/* something was received */
#define DAY1_NIC_RCTL		0x0100	/* receive control */
#define  DAY1_NIC_RCTL_EN	BIT(1)
#define  DAY1_NIC_RCTL_MPE	BIT(4)	/* every multicast frame */
#define  DAY1_NIC_RCTL_BAM	BIT(15)	/* broadcasts; buffers have 2048 bytes */
#define  DAY1_NIC_RCTL_SECRC	BIT(26)	/* frames without their checksum */
#define DAY1_NIC_TCTL		0x0400	/* transmit control */
#define  DAY1_NIC_TCTL_EN	BIT(1)
#define  DAY1_NIC_TCTL_PSP	BIT(3)	/* pad short packets */
#define  DAY1_NIC_TCTL_CT	(0x0f << 4)	/* collision threshold */
#define  DAY1_NIC_TCTL_COLD	(0x40 << 12)	/* collision distance, full duplex */
#define DAY1_NIC_TIPG		0x0410	/* inter-packet gap */
#define  DAY1_NIC_TIPG_COPPER	(10 | 8 << 10 | 6 << 20)
#define DAY1_NIC_RX_RING	0x2800
#define DAY1_NIC_TX_RING	0x3800
#define  DAY1_NIC_RING_LOW	0x00	/* its address, from the ring's base */
#define  DAY1_NIC_RING_HIGH	0x04
#define  DAY1_NIC_RING_LEN	0x08	/* in bytes */
#define  DAY1_NIC_RING_HEAD	0x10
#define  DAY1_NIC_RING_TAIL	0x18
#define DAY1_NIC_RAL0		0x5400	/* receive address 0, bytes 0 to 3 */
#define DAY1_NIC_RAH0		0x5404	/* receive address 0, bytes 4 and 5 */
#define  DAY1_NIC_RAH_AV	BIT(31)	/* the address is valid */

#define DAY1_NIC_EERD_POLL_US		10
#define DAY1_NIC_EERD_TIMEOUT_US	10000

#define DAY1_NIC_INT_DATA	(DAY1_NIC_INT_TXDW | DAY1_NIC_INT_RXDMT0 | \
				 DAY1_NIC_INT_RXO | DAY1_NIC_INT_RXT0)

#define DAY1_NIC_DESCS		64	/* a multiple of 8 */
#define DAY1_NIC_BUF_LEN	2048

/* Legacy descriptors: the same manual, 3.2.3 and 3.3.3. */
struct day1_nic_desc {
	__le64 addr;
	__le16 len;
	u8 rx_csum_tx_cso;
	u8 rx_csum_tx_cmd;
	u8 status;
	u8 rx_errors_tx_css;
	__le16 special;
};

#define DAY1_NIC_CMD_EOP	BIT(0)	/* end of packet */
#define DAY1_NIC_CMD_IFCS	BIT(1)	/* add the checksum */
#define DAY1_NIC_CMD_RS		BIT(3)	/* report the status */
#define DAY1_NIC_DESC_DONE	BIT(0)
#define DAY1_NIC_DESC_EOP	BIT(1)

struct day1_nic_ring {
	struct day1_nic_desc *descs;
	dma_addr_t dma;
	unsigned int next;	/* the next one to fill or to look at */
};

struct day1_nic {
	struct pci_dev *pdev;
	struct net_device *netdev;
	void __iomem *regs;
	struct napi_struct napi;
	struct day1_nic_ring rx;
	void *rx_bufs;
	dma_addr_t rx_bufs_dma;
	struct day1_nic_ring tx;
	unsigned int tx_clean;	/* the oldest one that was not seen sent */
	struct sk_buff *tx_skbs[DAY1_NIC_DESCS];
};

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

static unsigned int day1_nic_after(unsigned int desc)
{
	return (desc + 1) % DAY1_NIC_DESCS;
}

static void day1_nic_free_sent(struct day1_nic *nic, unsigned int desc)
{
	struct sk_buff *skb = nic->tx_skbs[desc];

	dma_unmap_single(&nic->pdev->dev,
			 le64_to_cpu(nic->tx.descs[desc].addr), skb->len,
			 DMA_TO_DEVICE);
	dev_kfree_skb_any(skb);
	nic->tx_skbs[desc] = NULL;
}

static netdev_tx_t day1_nic_start_xmit(struct sk_buff *skb,
				       struct net_device *netdev)
{
	struct day1_nic *nic = netdev_priv(netdev);
	unsigned int next = day1_nic_after(nic->tx.next);
	struct day1_nic_desc *desc = &nic->tx.descs[nic->tx.next];
	dma_addr_t dma;

	if (eth_skb_pad(skb))
		return NETDEV_TX_OK;

	dma = dma_map_single(&nic->pdev->dev, skb->data, skb->len,
			     DMA_TO_DEVICE);
	if (dma_mapping_error(&nic->pdev->dev, dma)) {
		netdev->stats.tx_dropped++;
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}

	nic->tx_skbs[nic->tx.next] = skb;
	desc->addr = cpu_to_le64(dma);
	desc->len = cpu_to_le16(skb->len);
	desc->rx_csum_tx_cso = 0;
	desc->rx_csum_tx_cmd = DAY1_NIC_CMD_EOP | DAY1_NIC_CMD_IFCS |
			       DAY1_NIC_CMD_RS;
	desc->status = 0;
	desc->rx_errors_tx_css = 0;
	desc->special = 0;
	netdev->stats.tx_packets++;
	netdev->stats.tx_bytes += skb->len;

	nic->tx.next = next;
	/* One descriptor stays free: head and tail alike mean an empty ring. */
	if (day1_nic_after(next) == nic->tx_clean)
		netif_stop_queue(netdev);
	/* The device sees the descriptor before its new tail. */
	wmb();
	writel(next, nic->regs + DAY1_NIC_TX_RING + DAY1_NIC_RING_TAIL);
	return NETDEV_TX_OK;
}

static void day1_nic_clean_tx(struct day1_nic *nic)
{
	netif_tx_lock(nic->netdev);
	while (nic->tx_clean != nic->tx.next &&
	       READ_ONCE(nic->tx.descs[nic->tx_clean].status) &
	       DAY1_NIC_DESC_DONE) {
		day1_nic_free_sent(nic, nic->tx_clean);
		nic->tx_clean = day1_nic_after(nic->tx_clean);
	}
	if (netif_queue_stopped(nic->netdev) &&
	    day1_nic_after(nic->tx.next) != nic->tx_clean)
		netif_wake_queue(nic->netdev);
	netif_tx_unlock(nic->netdev);
}

static void day1_nic_receive(struct day1_nic *nic, struct day1_nic_desc *desc)
{
	struct net_device *netdev = nic->netdev;
	unsigned int len = le16_to_cpu(desc->len);
	struct sk_buff *skb = NULL;

	/* A frame fits into one buffer, so what does not is none for us. */
	if (desc->status & DAY1_NIC_DESC_EOP && !desc->rx_errors_tx_css &&
	    len >= ETH_HLEN && len <= DAY1_NIC_BUF_LEN)
		skb = napi_alloc_skb(&nic->napi, len);
	if (!skb) {
		netdev->stats.rx_dropped++;
		return;
	}

	skb_put_data(skb, nic->rx_bufs + nic->rx.next * DAY1_NIC_BUF_LEN, len);
	skb->protocol = eth_type_trans(skb, netdev);
	netdev->stats.rx_packets++;
	netdev->stats.rx_bytes += len;
	napi_gro_receive(&nic->napi, skb);
}

static int day1_nic_clean_rx(struct day1_nic *nic, int budget)
{
	int done = 0;

	while (done < budget) {
		struct day1_nic_desc *desc = &nic->rx.descs[nic->rx.next];

		if (!(READ_ONCE(desc->status) & DAY1_NIC_DESC_DONE))
			break;
		/* The rest of the descriptor is as new as its status. */
		dma_rmb();
		day1_nic_receive(nic, desc);
		desc->status = 0;
		wmb();
		writel(nic->rx.next,
		       nic->regs + DAY1_NIC_RX_RING + DAY1_NIC_RING_TAIL);
		nic->rx.next = day1_nic_after(nic->rx.next);
		done++;
	}

	return done;
}

static int day1_nic_poll(struct napi_struct *napi, int budget)
{
	struct day1_nic *nic = container_of(napi, struct day1_nic, napi);
	int done;

	day1_nic_clean_tx(nic);
	done = day1_nic_clean_rx(nic, budget);
	if (done < budget && napi_complete_done(napi, done))
		writel(DAY1_NIC_INT_DATA, nic->regs + DAY1_NIC_IMS);
	return done;
}

static void day1_nic_update_link(struct day1_nic *nic)
{
	if (readl(nic->regs + DAY1_NIC_STATUS) & DAY1_NIC_STATUS_LU)
		netif_carrier_on(nic->netdev);
	else
		netif_carrier_off(nic->netdev);
}

static irqreturn_t day1_nic_interrupt(int irq, void *data)
{
	struct day1_nic *nic = data;
	u32 causes = readl(nic->regs + DAY1_NIC_ICR);

	if (!causes)
		return IRQ_NONE;

	if (causes & DAY1_NIC_INT_LSC)
		day1_nic_update_link(nic);
	if (causes & DAY1_NIC_INT_DATA && napi_schedule_prep(&nic->napi)) {
		writel(DAY1_NIC_INT_DATA, nic->regs + DAY1_NIC_IMC);
		__napi_schedule(&nic->napi);
	}
	return IRQ_HANDLED;
}

static int day1_nic_alloc_rings(struct day1_nic *nic)
{
	struct device *dev = &nic->pdev->dev;
	size_t len = DAY1_NIC_DESCS * sizeof(struct day1_nic_desc);

	nic->rx.descs = dma_alloc_coherent(dev, len, &nic->rx.dma, GFP_KERNEL);
	if (!nic->rx.descs)
		return -ENOMEM;
	nic->tx.descs = dma_alloc_coherent(dev, len, &nic->tx.dma, GFP_KERNEL);
	if (!nic->tx.descs)
		goto err_rx;
	nic->rx_bufs = dma_alloc_coherent(dev,
					  DAY1_NIC_DESCS * DAY1_NIC_BUF_LEN,
					  &nic->rx_bufs_dma, GFP_KERNEL);
	if (!nic->rx_bufs)
		goto err_tx;
	return 0;

err_tx:
	dma_free_coherent(dev, len, nic->tx.descs, nic->tx.dma);
err_rx:
	dma_free_coherent(dev, len, nic->rx.descs, nic->rx.dma);
	return -ENOMEM;
}

static void day1_nic_free_rings(struct day1_nic *nic)
{
	struct device *dev = &nic->pdev->dev;
	size_t len = DAY1_NIC_DESCS * sizeof(struct day1_nic_desc);

	for (; nic->tx_clean != nic->tx.next;
	     nic->tx_clean = day1_nic_after(nic->tx_clean))
		day1_nic_free_sent(nic, nic->tx_clean);
	dma_free_coherent(dev, DAY1_NIC_DESCS * DAY1_NIC_BUF_LEN, nic->rx_bufs,
			  nic->rx_bufs_dma);
	dma_free_coherent(dev, len, nic->tx.descs, nic->tx.dma);
	dma_free_coherent(dev, len, nic->rx.descs, nic->rx.dma);
}

static void day1_nic_start_ring(struct day1_nic *nic, u32 base,
				struct day1_nic_ring *ring, u32 tail)
{
	void __iomem *regs = nic->regs + base;

	ring->next = 0;
	writel(lower_32_bits(ring->dma), regs + DAY1_NIC_RING_LOW);
	writel(upper_32_bits(ring->dma), regs + DAY1_NIC_RING_HIGH);
	writel(DAY1_NIC_DESCS * sizeof(*ring->descs), regs + DAY1_NIC_RING_LEN);
	writel(0, regs + DAY1_NIC_RING_HEAD);
	writel(tail, regs + DAY1_NIC_RING_TAIL);
}

static void day1_nic_start(struct day1_nic *nic)
{
	const u8 *mac = nic->netdev->dev_addr;
	void __iomem *regs = nic->regs;
	unsigned int i;

	writel(readl(regs + DAY1_NIC_CTRL) | DAY1_NIC_CTRL_ASDE |
	       DAY1_NIC_CTRL_SLU, regs + DAY1_NIC_CTRL);
	writel(mac[0] | mac[1] << 8 | mac[2] << 16 | (u32)mac[3] << 24,
	       regs + DAY1_NIC_RAL0);
	writel(mac[4] | mac[5] << 8 | DAY1_NIC_RAH_AV, regs + DAY1_NIC_RAH0);

	for (i = 0; i < DAY1_NIC_DESCS; i++) {
		nic->rx.descs[i].addr = cpu_to_le64(nic->rx_bufs_dma +
						    i * DAY1_NIC_BUF_LEN);
		nic->rx.descs[i].status = 0;
	}
	nic->tx_clean = 0;
	day1_nic_start_ring(nic, DAY1_NIC_TX_RING, &nic->tx, 0);
	day1_nic_start_ring(nic, DAY1_NIC_RX_RING, &nic->rx,
			    DAY1_NIC_DESCS - 1);

	writel(DAY1_NIC_TIPG_COPPER, regs + DAY1_NIC_TIPG);
	writel(DAY1_NIC_TCTL_EN | DAY1_NIC_TCTL_PSP | DAY1_NIC_TCTL_CT |
	       DAY1_NIC_TCTL_COLD, regs + DAY1_NIC_TCTL);
	writel(DAY1_NIC_RCTL_EN | DAY1_NIC_RCTL_MPE | DAY1_NIC_RCTL_BAM |
	       DAY1_NIC_RCTL_SECRC, regs + DAY1_NIC_RCTL);
	writel(DAY1_NIC_INT_DATA | DAY1_NIC_INT_LSC, regs + DAY1_NIC_IMS);
}

static void day1_nic_quiesce(struct day1_nic *nic)
{
	writel(~0U, nic->regs + DAY1_NIC_IMC);
	writel(0, nic->regs + DAY1_NIC_RCTL);
	writel(0, nic->regs + DAY1_NIC_TCTL);
	/* Flushes the writes. */
	readl(nic->regs + DAY1_NIC_STATUS);
}

static int day1_nic_open(struct net_device *netdev)
{
	struct day1_nic *nic = netdev_priv(netdev);
	int err;

	err = day1_nic_alloc_rings(nic);
	if (err)
		return err;
	err = request_irq(nic->pdev->irq, day1_nic_interrupt, IRQF_SHARED,
			  netdev->name, nic);
	if (err) {
		nic->tx_clean = nic->tx.next;
		day1_nic_free_rings(nic);
		return err;
	}
	napi_enable(&nic->napi);
	day1_nic_start(nic);
	netif_start_queue(netdev);
	day1_nic_update_link(nic);
	return 0;
}

static int day1_nic_stop(struct net_device *netdev)
{
	struct day1_nic *nic = netdev_priv(netdev);

	netif_tx_disable(netdev);
	day1_nic_quiesce(nic);
	free_irq(nic->pdev->irq, nic);
	napi_disable(&nic->napi);
	/* Its last round may have set the mask again. */
	day1_nic_quiesce(nic);
	netif_carrier_off(netdev);
	day1_nic_free_rings(nic);
	return 0;
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

static int day1_nic_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct net_device *netdev;
	struct day1_nic *nic;
	u8 mac[ETH_ALEN];
	int err;

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
