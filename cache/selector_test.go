package cache

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

var selectors = []struct {
	name string
	Selector
	worst float64 // the fullest of ten nodes, against the mean
	moves float64 // the share of the keys that moves at most when an eleventh node comes
}{
	{"modulo", Modulo, 1.02, 0.92},
	{"jump", Jump, 1.02, 0.095},
	{"rendezvous", Rendezvous, 1.02, 0.095},
	{"ketama", Ketama, 1.2, 0.12},
	{"bounded 1.25", BoundedLoads(1.25), 1.27, 0.15},
	{"bounded 1", BoundedLoads(1), 1.04, 0.5},
}

// numbered returns n nodes with names that look alike, and keys that do.
func numbered(n int) (nodes []Node) {
	for i := range n {
		nodes = append(nodes, Node{Addr: fmt.Sprintf("10.0.0.%d", i+1)})
	}
	return nodes
}

func someKeys(n int) (keys []string) {
	for i := range n {
		keys = append(keys, "user:"+strconv.Itoa(i))
	}
	return keys
}

// shares counts the keys of each node.
func shares(nodes []Node, pick func(string) int, keys []string) []float64 {
	share := make([]float64, len(nodes))
	for _, k := range keys {
		share[pick(k)] += 1 / float64(len(keys))
	}
	return share
}

func TestBalanceAndMovement(t *testing.T) {
	keys := someKeys(100_000)
	for _, s := range selectors {
		t.Run(s.name, func(t *testing.T) {
			ten, eleven := s.Selector(numbered(10)), s.Selector(numbered(11))
			require.Less(t, 10*slices.Max(shares(numbered(10), ten, keys)), s.worst)
			moved, astray := 0, 0
			for _, k := range keys {
				if a, b := ten(k), eleven(k); a != b {
					moved++
					if b != 10 {
						astray++ // from an old node to another old one
					}
				}
			}
			require.Less(t, float64(moved)/float64(len(keys)), s.moves)
			switch s.name {
			case "jump", "rendezvous":
				require.Zero(t, astray)
			case "ketama": // a handful of points are rounded away
				require.Less(t, astray, len(keys)/200)
			}
		})
	}
}

// A node in the middle leaves: only its keys may move. Modulo and Jump cannot.
func TestLeaving(t *testing.T) {
	nodes := numbered(10)
	left := slices.Delete(slices.Clone(nodes), 4, 5)
	for _, s := range selectors {
		all, fewer := s.Selector(nodes), s.Selector(left)
		astray := 0
		for _, k := range someKeys(10_000) {
			if n := nodes[all(k)]; n != nodes[4] && n != left[fewer(k)] {
				astray++
			}
		}
		switch s.name {
		case "rendezvous":
			require.Zero(t, astray, s.name)
		case "ketama":
			require.Less(t, astray, 100, s.name)
		case "bounded 1.25":
			require.Less(t, astray, 1000, s.name)
		case "modulo", "jump":
			require.Greater(t, astray, 3000, s.name)
		}
	}
}

func TestWeights(t *testing.T) {
	nodes := []Node{{"a:1", 1}, {"b:1", 3}, {"c:1", 0}, {"d:1", 5}}
	want := []float64{.1, .3, .1, .5}
	for _, s := range selectors {
		got := shares(nodes, s.Selector(nodes), someKeys(50_000))
		for i := range want {
			require.InEpsilon(t, want[i], got[i], 0.3, "%s: %v", s.name, got)
		}
	}
	// Equal weights are no weights.
	heavy := numbered(5)
	for i := range heavy {
		heavy[i].Weight = 1
	}
	for _, s := range selectors {
		a, b := s.Selector(numbered(5)), s.Selector(heavy)
		for _, k := range someKeys(500) {
			require.Equal(t, a(k), b(k), s.name)
		}
	}
}

func TestBoundedLoadsBound(t *testing.T) {
	for _, c := range []float64{0, 1, 1.1, 2} {
		for _, n := range []int{1, 2, 7, 100} {
			pieces := make([]int, n)
			pick := BoundedLoads(c)(numbered(n))
			seen := map[uint64]bool{}
			for i := 0; len(seen) < partitions; i++ {
				k := strconv.Itoa(i)
				if p := hash64(k) % partitions; !seen[p] {
					seen[p] = true
					pieces[pick(k)]++
				}
			}
			require.LessOrEqual(t, slices.Max(pieces), int(max(c, 1)*partitions/float64(n))+1, "c = %v, %d nodes", c, n)
		}
	}
}

// Values of other implementations of the jump hash.
func TestJumpVectors(t *testing.T) {
	for _, test := range []struct {
		key     uint64
		n, want int
	}{{1, 1, 0}, {42, 57, 43}, {0xDEAD10CC, 1, 0}, {0xDEAD10CC, 666, 361}, {256, 1024, 520}} {
		require.Equal(t, test.want, jump(test.key, test.n))
	}
}

// Where keys are may never change between versions.
func TestSelectorsNeverChange(t *testing.T) {
	for name, want := range map[string][]int{
		"modulo":       {1, 6, 4, 3, 6, 2, 8, 3, 7, 4, 6, 5},
		"jump":         {1, 8, 7, 5, 8, 6, 0, 5, 0, 2, 4, 1},
		"rendezvous":   {1, 6, 0, 1, 6, 3, 3, 7, 0, 8, 5, 5},
		"ketama":       {6, 7, 5, 8, 1, 1, 6, 1, 8, 4, 4, 0},
		"bounded 1.25": {7, 7, 4, 0, 2, 0, 3, 6, 5, 0, 3, 5},
	} {
		for _, s := range selectors {
			if s.name == name {
				pick := s.Selector(numbered(9))
				for i, k := range someKeys(len(want)) {
					require.Equal(t, want[i], pick(k), "%s, %s", name, k)
				}
			}
		}
	}
}

func TestModuloIsGomemcache(t *testing.T) {
	var addrs []string
	for i := range 7 {
		addrs = append(addrs, "127.0.0.1:"+strconv.Itoa(21000+i))
	}
	var theirs memcache.ServerList
	require.NoError(t, theirs.SetServers(addrs...))
	pick := Modulo(Nodes(addrs...))
	for _, k := range append(someKeys(1000), strings.Repeat("k", maxKeyLen)) {
		addr, err := theirs.PickServer(k)
		require.NoError(t, err)
		require.Equal(t, addr.String(), addrs[pick(k)])
	}
}

// ketamaPool is a line of testdata/ketama.json: what libmemcached said.
type ketamaPool struct {
	Name    string
	Servers []string // "host port weight", as for testdata/ketama.c
	Owner   []int    // by key
}

func (p ketamaPool) nodes(t *testing.T) (nodes []Node) {
	for _, s := range p.Servers {
		f := strings.Fields(s)
		weight, err := strconv.Atoi(f[2])
		require.NoError(t, err)
		n := Node{f[0], weight}
		switch {
		case f[1] == "0":
		case f[1] != defaultPort || weight%2 == 0: // sometimes without
			n.Addr = net.JoinHostPort(f[0], f[1])
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func (p ketamaPool) check(t *testing.T, keys []string) {
	pick := Ketama(p.nodes(t))
	for i, k := range keys {
		require.Equal(t, p.Owner[i], pick(k), "%s: %s", p.Name, k)
	}
}

func TestKetamaVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/ketama.json")
	require.NoError(t, err)
	var golden struct {
		Keys  []string
		Pools []ketamaPool
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	require.NotEmpty(t, golden.Pools)
	for _, p := range golden.Pools {
		require.Len(t, p.Owner, len(golden.Keys))
		p.check(t, golden.Keys)
	}
}

// libmemcached itself, on pools of all sizes.
func TestKetamaIsLibmemcached(t *testing.T) {
	cc := interop.Program(t, "gcc", "gcc", "cc")
	program := filepath.Join(t.TempDir(), "ketama")
	if out, err := exec.Command(cc, "-o", program, "testdata/ketama.c", "-lmemcached").CombinedOutput(); err != nil {
		interop.Missing(t, "no libmemcached (Debian package libmemcached-dev): %s", out)
	}
	keys := someKeys(300)
	var pools []ketamaPool
	var input strings.Builder
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 22, 25, 30, 40} {
		for _, weighted := range []bool{false, true} {
			p := ketamaPool{Name: fmt.Sprintf("%d servers, weighted: %t", n, weighted)}
			for i := range n {
				port, weight := 11211+i%3, 1
				if weighted {
					weight += i * n % 7 * (i%4 + 1)
				}
				p.Servers = append(p.Servers, fmt.Sprintf("10.1.%d.%d %d %d", n, i, port, weight))
			}
			pools = append(pools, p)
			fmt.Fprintf(&input, "%d %d\n%s\n%s\n", n, len(keys), strings.Join(p.Servers, "\n"), strings.Join(keys, "\n"))
		}
	}
	cmd := exec.Command(program)
	cmd.Stdin = strings.NewReader(input.String())
	out, err := cmd.Output()
	require.NoError(t, err)
	owners := strings.Fields(string(out))
	require.Len(t, owners, len(pools)*len(keys))
	for i, p := range pools {
		for _, o := range owners[i*len(keys) : (i+1)*len(keys)] {
			owner, err := strconv.Atoi(o)
			require.NoError(t, err)
			p.Owner = append(p.Owner, owner)
		}
		p.check(t, keys)
	}
}

func BenchmarkSelectors(b *testing.B) {
	keys := someKeys(1 << 12)
	for _, n := range []int{3, 100} {
		for _, s := range selectors {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				pick := s.Selector(numbered(n))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					pick(keys[i%len(keys)])
				}
			})
		}
	}
}
