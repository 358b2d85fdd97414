package httpx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A fakeFleet are the nodes of a balancer, by host, without a network.
type fakeFleet struct {
	mu    sync.Mutex
	fails map[string]error
	got   map[string]int
}

// fail lets a node answer with an error; nil lets it answer again.
func (f *fakeFleet) fail(host string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[host] = err
}

func (f *fakeFleet) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fails[r.URL.Host]; err != nil {
		return nil, err
	}
	if r.Header.Get("User-Agent") != "zocalo-check" {
		f.got[r.URL.Host]++
	}
	return reply(r, 200, r.URL.Host), nil
}

var errDial = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}

func newFleet(t *testing.T, b *Balancer, weights ...float64) *fakeFleet {
	t.Helper()
	f := &fakeFleet{fails: make(map[string]error), got: make(map[string]int)}
	b.Transport = f
	for i, w := range weights {
		require.NoError(t, b.Add(&url.URL{Scheme: "http", Host: fmt.Sprintf("n%d", i)}, w))
	}
	return f
}

func send(b *Balancer, method, target string, fields ...string) (*http.Response, error) {
	r, err := http.NewRequest(method, "http://shop.test"+target, nil)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	resp, err := b.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

func TestRoundRobinIsExact(t *testing.T) {
	b := new(Balancer)
	defer b.Close()
	f := newFleet(t, b, 1, 1, 1)
	for i := 1; i <= 100; i++ {
		_, err := send(b, "GET", "/")
		require.NoError(t, err)
		counts := []int{f.got["n0"], f.got["n1"], f.got["n2"]}
		require.LessOrEqual(t, slices.Max(counts)-slices.Min(counts), 1, counts)
	}
}

func TestWeights(t *testing.T) {
	b := new(Balancer)
	defer b.Close()
	f := newFleet(t, b, 5, 2, 1)
	const n = 800
	for range n {
		_, err := send(b, "GET", "/")
		require.NoError(t, err)
	}
	for host, share := range map[string]float64{"n0": 5.0 / 8, "n1": 2.0 / 8, "n2": 1.0 / 8} {
		require.InDelta(t, share, float64(f.got[host])/n, 0.02)
	}
}

// When a node goes, its keys move and no others; when one comes, it takes
// about its share.
func TestHashMovesLittle(t *testing.T) {
	b := &Balancer{Policy: HashKey, Key: func(r *http.Request) string { return r.URL.Path }}
	defer b.Close()
	newFleet(t, b, 1, 1, 1, 1)
	where := func() map[string]string {
		m := make(map[string]string)
		for i := range 4000 {
			path := fmt.Sprintf("/%d", i)
			resp, err := send(b, "GET", path)
			require.NoError(t, err)
			m[path] = resp.Request.URL.Host
		}
		return m
	}
	before := where()
	counts := make(map[string]int)
	for _, host := range before {
		counts[host]++
	}
	for host, n := range counts {
		require.InEpsilon(t, 1000, n, 0.1, host)
	}
	require.NoError(t, b.Add(&url.URL{Scheme: "http", Host: "n4"}, 1))
	moved := 0
	for path, host := range where() {
		if host != before[path] {
			require.Equal(t, "n4", host)
			moved++
		}
	}
	require.Less(t, float64(moved), 1.5*4000/5)
	require.True(t, b.Remove(&url.URL{Scheme: "http", Host: "n4"}))
	require.Equal(t, before, where())
}

func TestLeastConnections(t *testing.T) {
	b := &Balancer{Policy: LeastConnections}
	defer b.Close()
	newFleet(t, b, 1, 1, 2)
	open := make(map[string][]*http.Response)
	for range 40 {
		r, _ := http.NewRequest("GET", "http://shop.test/", nil)
		resp, err := b.RoundTrip(r)
		require.NoError(t, err)
		open[resp.Request.URL.Host] = append(open[resp.Request.URL.Host], resp)
	}
	require.Len(t, open["n0"], 10)
	require.Len(t, open["n1"], 10)
	require.Len(t, open["n2"], 20)
	for _, resp := range open["n1"] {
		resp.Body.Close()
	}
	for range 10 {
		resp, err := send(b, "GET", "/")
		require.NoError(t, err)
		require.Equal(t, "n1", resp.Request.URL.Host)
	}
	require.Equal(t, 10, b.Nodes()[0].Active)
	require.Zero(t, b.Nodes()[1].Active)
}

func TestRetries(t *testing.T) {
	b := &Balancer{MaxFails: -1}
	defer b.Close()
	f := newFleet(t, b, 1, 1, 1)
	reset := errors.New("connection reset")
	f.fail("n0", reset)
	f.fail("n1", errDial)
	for range 30 {
		resp, err := send(b, "GET", "/")
		require.NoError(t, err)
		require.Equal(t, "n2", resp.Request.URL.Host)
	}
	failed := 0
	for range 30 { // a POST may have been done: again goes only what was not sent
		if _, err := send(b, "POST", "/"); err != nil {
			require.ErrorIs(t, err, reset)
			failed++
		}
	}
	require.Positive(t, failed)
	require.Less(t, failed, 30)

	// The budget: a fifth of the requests and a hundred more.
	b = &Balancer{MaxFails: -1}
	defer b.Close()
	f = newFleet(t, b, 1, 1)
	f.fail("n0", errDial)
	f.fail("n1", errDial)
	for range 1000 {
		_, err := send(b, "GET", "/")
		require.ErrorIs(t, err, errDial)
	}
	require.InDelta(t, 300, b.Stats().Retried, 2)
	_, err := send(&Balancer{Transport: f}, "GET", "/")
	require.ErrorIs(t, err, ErrNoNode)
}

func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		b := &Balancer{Trace: &BalancerTrace{Down: func(u *url.URL, why error) { events = append(events, "down "+u.Host) }}}
		defer b.Close()
		f := newFleet(t, b, 1, 1)
		f.fail("n0", errDial)
		for range 10 {
			_, err := send(b, "GET", "/")
			require.NoError(t, err)
		}
		require.Equal(t, []string{"down n0"}, events)
		require.False(t, b.Nodes()[0].Well)
		require.EqualValues(t, 2, b.Nodes()[0].Given)
		pass(5 * time.Second)
		require.True(t, b.Nodes()[0].Well)
		for range 10 {
			_, err := send(b, "GET", "/")
			require.NoError(t, err)
		}
		require.False(t, b.Nodes()[0].Well)
		pass(9 * time.Second)
		require.False(t, b.Nodes()[0].Well, "the second time it is out twice as long")
		pass(time.Second)
		require.True(t, b.Nodes()[0].Well)

		// When all have failed, it is still better to try.
		f.fail("n1", errDial)
		for range 10 {
			_, err := send(b, "GET", "/")
			require.ErrorIs(t, err, errDial)
		}
	})
}

func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var events []string
		say := func(what string, u *url.URL) {
			events = append(events, fmt.Sprintf("%v %s %s", time.Since(start), what, u.Host))
		}
		b := &Balancer{
			Check: &HealthCheck{Interval: time.Second, Rise: 3, Fall: 2},
			Trace: &BalancerTrace{
				Down: func(u *url.URL, why error) { say("down", u) },
				Up:   func(u *url.URL) { say("up", u) },
			},
			SlowStart: 10 * time.Second,
		}
		defer b.Close()
		f := newFleet(t, b, 1, 1)
		pass(20*time.Second + time.Millisecond)
		f.fail("n1", errDial)
		pass(5 * time.Second)
		f.fail("n1", nil)
		pass(5 * time.Second)
		require.Equal(t, []string{"22s down n1", "28s up n1"}, events)

		// Just back, it gets less than its share; later, half.
		share := func() float64 {
			clear(f.got)
			for range 1000 {
				_, err := send(b, "GET", "/")
				require.NoError(t, err)
			}
			return float64(f.got["n1"]) / 1000
		}
		require.InDelta(t, 0.2/1.2, share(), 0.02)
		pass(10 * time.Second)
		require.InDelta(t, 0.5, share(), 0.01)
	})
}

func TestSticky(t *testing.T) {
	b := &Balancer{Sticky: "node"}
	defer b.Close()
	f := newFleet(t, b, 1, 1, 1)
	resp, err := send(b, "GET", "/")
	require.NoError(t, err)
	require.Len(t, resp.Cookies(), 1)
	cookie := resp.Cookies()[0]
	require.True(t, cookie.HttpOnly)
	home := resp.Request.URL.Host
	for range 10 {
		resp, err := send(b, "GET", "/", "Cookie: node="+cookie.Value)
		require.NoError(t, err)
		require.Equal(t, home, resp.Request.URL.Host)
		require.Empty(t, resp.Cookies())
	}
	f.fail(home, errDial)
	resp, err = send(b, "GET", "/", "Cookie: node="+cookie.Value)
	require.NoError(t, err)
	require.NotEqual(t, home, resp.Request.URL.Host)
	require.Len(t, resp.Cookies(), 1, "it has a new home")
	for _, odd := range []string{"", "x", strings.Repeat("y", 5000)} {
		_, err := send(b, "GET", "/", "Cookie: node="+odd)
		require.NoError(t, err)
	}
}

func TestDrainAndBadNodes(t *testing.T) {
	b := new(Balancer)
	defer b.Close()
	newFleet(t, b, 1, 1)
	require.True(t, b.Drain(&url.URL{Scheme: "http", Host: "n0"}))
	require.False(t, b.Drain(&url.URL{Scheme: "http", Host: "n9"}))
	for range 10 {
		resp, err := send(b, "GET", "/")
		require.NoError(t, err)
		require.Equal(t, "n1", resp.Request.URL.Host)
	}
	require.Error(t, b.Add(&url.URL{Scheme: "ftp", Host: "a"}, 1))
	require.Error(t, b.Add(&url.URL{Scheme: "http"}, 1))
	require.Error(t, b.Add(&url.URL{Scheme: "http", Host: "a"}, math.NaN()))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Add(&url.URL{Scheme: "http", Host: "a"}, 1), net.ErrClosed)
}

// A client that goes is no fault of the node's.
func TestClientGoes(t *testing.T) {
	b := new(Balancer)
	defer b.Close()
	f := newFleet(t, b, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.fail("n0", context.Canceled)
	for range 5 {
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://shop.test/", nil)
		_, err := b.RoundTrip(r)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.True(t, b.Nodes()[0].Well)
	require.Zero(t, b.Nodes()[0].Active)
}
