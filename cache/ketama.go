package cache

import (
	"cmp"
	"crypto/md5" // to be where other clients are; nothing secret hangs on it
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"
)

// A ring is the circle of all 32-bit numbers with the points of the nodes on
// it, in order. A key belongs to the next point at or after its hash.
type ring []point

type point struct {
	hash uint32
	node int32
}

func (r ring) sort() {
	slices.SortFunc(r, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node))
	})
}

// search returns the index of the point at or after hash.
func (r ring) search(hash uint32) int {
	lo, hi := 0, len(r)
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); r[mid].hash < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(r) {
		return 0
	}
	return lo
}

// Ketama puts each node on about 160 points of a ring, and gives a key to the
// node of the next point ([consistent hashing]). When a node joins or leaves,
// about its share of the keys moves. Keys are where libmemcached puts them with
// KETAMA_WEIGHTED (and the clients of PHP, Python and Ruby built on it), as
// long as the nodes have the same names: numbers stay numbers and names stay
// names.
//
// [consistent hashing]: https://www.cs.princeton.edu/courses/archive/fall09/cos518/papers/chash.pdf
func Ketama(nodes []Node) func(key string) int {
	var ring ring
	total := float32(slots(nodes).count())
	for i, n := range nodes {
		// A digest of 16 bytes makes four points. The share is computed in
		// single precision, as there: at some numbers of nodes the rounding
		// takes one digest away from each.
		digests := float32(n.weight()) / total * 160 / 4 * float32(len(nodes))
		name := ketamaName(n.Addr)
		for d := range int(digests) {
			sum := md5.Sum(strconv.AppendInt([]byte(name), int64(d), 10))
			for s := sum[:]; len(s) > 0; s = s[4:] {
				ring = append(ring, point{binary.LittleEndian.Uint32(s), int32(i)})
			}
		}
	}
	ring.sort()
	return func(key string) int {
		var buf [maxKeyLen]byte
		sum := md5.Sum(append(buf[:0], key...))
		return int(ring[ring.search(binary.LittleEndian.Uint32(sum[:]))].node)
	}
}

// ketamaName is what the points of a node are made of: "host-", or "host:port-"
// unless the port is memcached's own; of a Unix socket "path:0-".
func ketamaName(addr string) string {
	network, addr := dialAddr(addr)
	if network == "unix" {
		return addr + ":0-"
	}
	host, port, _ := net.SplitHostPort(addr)
	if port == defaultPort {
		return host + "-"
	}
	return host + ":" + port + "-"
}

const defaultPort = "11211"

// dialAddr returns what a node's address means to package net.
func dialAddr(addr string) (network, address string) {
	if strings.ContainsAny(addr, `/\`) {
		return "unix", addr
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), defaultPort)
	}
	return "tcp", addr
}
