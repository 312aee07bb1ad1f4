// SPDX-License-Identifier: GPL-2.0
/* The data path: one ring each way, and the interrupt. */

#include <linux/dma-mapping.h>
#include <linux/etherdevice.h>
#include <linux/interrupt.h>
#include <linux/io.h>

#include "day1_nic.h"

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

netdev_tx_t day1_nic_start_xmit(struct sk_buff *skb, struct net_device *netdev)
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

int day1_nic_poll(struct napi_struct *napi, int budget)
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

void day1_nic_quiesce(struct day1_nic *nic)
{
	writel(~0U, nic->regs + DAY1_NIC_IMC);
	writel(0, nic->regs + DAY1_NIC_RCTL);
	writel(0, nic->regs + DAY1_NIC_TCTL);
	/* Flushes the writes. */
	readl(nic->regs + DAY1_NIC_STATUS);
}

int day1_nic_open(struct net_device *netdev)
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

int day1_nic_stop(struct net_device *netdev)
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
