package cache

import (
	"hash/crc32"
	"math"
	"slices"
)

// A Node is one of several servers that share the keys among them.
type Node struct {
	// Addr names the server, and is what most selectors hash: the same
	// server under another name gets other keys. For a [Client] it is
	// "host:port", "host" (then the port is 11211) or the path of a Unix
	// socket, which has a slash in it.
	Addr string

	// Weight is the server's share of the keys relative to the others';
	// 0 means 1.
	Weight int
}

// Nodes returns the nodes with these addresses, all of the same weight.
func Nodes(addrs ...string) []Node {
	nodes := make([]Node, len(addrs))
	for i, a := range addrs {
		nodes[i].Addr = a
	}
	return nodes
}

// weight returns n.Weight as it counts.
func (n Node) weight() int { return max(n.Weight, 1) }

// A Selector spreads keys over nodes: the function that it returns gives for
// each key the index of the node that has it, and may be called by several
// goroutines at a time. nodes must not be empty, nor change any more.
//
// Two programs agree on where a key is only if they have the same selector and
// the same nodes, for [Modulo] and [Jump] also in the same order.
type Selector func(nodes []Node) func(key string) int

// Modulo is the remainder of the key's CRC-32 divided by the number of nodes, as
// in most simple clients. When a node joins or leaves nearly all keys move.
func Modulo(nodes []Node) func(key string) int {
	slot := slots(nodes)
	n := uint32(slot.count())
	return func(key string) int {
		// crc32.ChecksumIEEE wants bytes in memory of their own.
		crc := ^uint32(0)
		for i := range len(key) {
			crc = crc32.IEEETable[byte(crc)^key[i]] ^ crc>>8
		}
		return slot.node(int(^crc % n))
	}
}

// Jump is the jump consistent hash of [Lamping and Veach]: the most even of all
// and without any memory, but nodes are numbers to it. One may join or leave at
// the end of the list with the least of movement; in the middle, all behind it
// move up.
//
// [Lamping and Veach]: https://arxiv.org/abs/1406.2294
func Jump(nodes []Node) func(key string) int {
	slot := slots(nodes)
	n := slot.count()
	return func(key string) int {
		return slot.node(jump(hash64(key), n))
	}
}

// jump follows key from bucket to bucket, as their number grows to n.
func jump(key uint64, n int) int {
	b, j := int64(-1), int64(0)
	for j < int64(n) {
		b = j
		key = key*2862933555777941757 + 1
		j = int64(float64(b+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return int(b)
}

// Rendezvous asks every node for a number made of its name and the key, and
// takes the node with the highest ("highest random weight", [Thaler and
// Ravishankar]). Only the keys of a node that leaves move, and evenly to all
// others; the price is a look at every node for every key.
//
// [Thaler and Ravishankar]: https://www.eecs.umich.edu/techreports/cse/96/CSE-TR-316-96.pdf
func Rendezvous(nodes []Node) func(key string) int {
	seeds := make([]uint64, len(nodes))
	for i, n := range nodes {
		seeds[i] = hash64(n.Addr)
	}
	if slots(nodes).count() == len(nodes) { // without weights, integers will do
		return func(key string) int {
			h := hash64(key)
			best, top := 0, uint64(0)
			for i, seed := range seeds {
				if x := mix64(h ^ seed); x > top {
					best, top = i, x
				}
			}
			return best
		}
	}
	return func(key string) int {
		h := hash64(key)
		best, top := 0, math.Inf(-1)
		for i, seed := range seeds {
			// With u even in (0, 1), -ln u / weight is the time that a node
			// would take to answer at random with that rate; the first wins.
			u := (float64(mix64(h^seed)>>11) + 0.5) / (1 << 53)
			if x := math.Log(u) / float64(nodes[i].weight()); x > top {
				best, top = i, x
			}
		}
		return best
	}
}

// partitions is how many pieces of the key space [BoundedLoads] hands out.
const partitions = 1 << 13

// BoundedLoads returns a selector in which no node has more than c times its
// fair share of the key space, c = 1.25 for example; less than 1 counts as 1.
// The key space is cut into 8,192 pieces, each goes round a ring of the
// nodes to the first that has room ([Mirrokni, Thorup and Zadimoghaddam]), and
// choosing is a look into a table. The nearer c is to 1, the more keys move
// that need not when a node joins or leaves.
//
// [Mirrokni, Thorup and Zadimoghaddam]: https://arxiv.org/abs/1608.01350
func BoundedLoads(c float64) Selector {
	return func(nodes []Node) func(key string) int {
		const pointsPerWeight = 100
		var ring ring
		total := slots(nodes).count()
		room := make([]int, len(nodes)) // how many pieces each may still take
		for i, n := range nodes {
			share := float64(n.weight()) / float64(total)
			room[i] = int(math.Ceil(max(c, 1) * share * partitions))
			seed := hash64(n.Addr)
			for p := range max(1, int(share*float64(len(nodes))*pointsPerWeight)) {
				ring = append(ring, point{uint32(mix64(seed+uint64(p)) >> 32), int32(i)})
			}
		}
		ring.sort()
		table := make([]int32, partitions)
		for p := range table {
			at := ring.search(uint32(mix64(uint64(p)) >> 32))
			for room[ring[at].node] == 0 {
				at = (at + 1) % len(ring)
			}
			table[p] = ring[at].node
			room[ring[at].node]--
		}
		return func(key string) int { return int(table[hash64(key)%partitions]) }
	}
}

// hash64 is FNV-1a, whose last bytes hardly reach the high bits, and mix64
// after it, which mends that. It must never change: where keys are hangs on it.
func hash64(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix64(h)
}

// mix64 is the last step of MurmurHash3: every bit of x goes into every bit of
// the result, and no two numbers have the same one.
func mix64(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// slotTable says which node has which slot when a node of weight w has w slots:
// the i-th number is where the slots of node i end.
type slotTable []int

func slots(nodes []Node) slotTable {
	ends, end := make(slotTable, len(nodes)), 0
	for i, n := range nodes {
		end += n.weight()
		ends[i] = end
	}
	return ends
}

func (t slotTable) count() int { return t[len(t)-1] }

func (t slotTable) node(slot int) int {
	if t.count() == len(t) {
		return slot
	}
	i, _ := slices.BinarySearch(t, slot+1)
	return i
}
