package udprel

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools keep things for one collection more
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestIdleMemory: a thousand connections on which nothing happens take some
// kilobytes each, both ends counted, and nothing when they are closed.
func TestIdleMemory(t *testing.T) {
	const count = 1000
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}}
		defer n.Close()
		cfg := &Config{Backlog: count}
		a, b, _, l := hosts(t, n, cfg, cfg)
		defer a.Close()
		defer b.Close()
		open := func() (conns []*Conn) {
			for range count {
				c, err := a.Dial(t.Context(), b.Addr())
				require.NoError(t, err)
				s, err := l.AcceptConn(t.Context())
				require.NoError(t, err)
				conns = append(conns, c, s)
			}
			time.Sleep(time.Second) // virtual
			return conns
		}
		closeAll := func(conns []*Conn) {
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
			time.Sleep(time.Second)
		}
		closeAll(open()) // the network and the maps have grown now
		before := heap()
		conns := open()
		each := (heap() - before) / count
		t.Logf("%d bytes for both ends of a connection", each)
		assert.Less(t, each, int64(64<<10))
		closeAll(conns)
		conns = nil
		assert.Less(t, (heap()-before)/count, int64(1<<10))
		runtime.KeepAlive(n)
	})
}
