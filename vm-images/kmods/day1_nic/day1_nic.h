/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DAY1_NIC_H
#define DAY1_NIC_H

#include <linux/bits.h>
#include <linux/netdevice.h>
#include <linux/pci.h>

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

int day1_nic_open(struct net_device *netdev);
int day1_nic_stop(struct net_device *netdev);
netdev_tx_t day1_nic_start_xmit(struct sk_buff *skb, struct net_device *netdev);
int day1_nic_poll(struct napi_struct *napi, int budget);
void day1_nic_quiesce(struct day1_nic *nic);

#endif
