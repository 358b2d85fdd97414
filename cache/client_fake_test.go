package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A fakeServer is as much of a memcached as a client needs, in a map.
type fakeServer struct {
	// wrap, if not nil, stands between the server and a connection.
	wrap func(net.Conn) net.Conn

	mu      sync.Mutex
	items   map[string]fakeItem
	cas     uint64
	flushes int
	ln      net.Listener
	conns   map[net.Conn]bool
	opened  int // connections so far
	wg      sync.WaitGroup
}

type fakeItem struct {
	value      []byte
	flags, cas uint64
	expires    time.Time // zero: never
}

// start serves ln until stop.
func (f *fakeServer) start(ln net.Listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.items == nil {
		f.items = map[string]fakeItem{}
	}
	f.ln, f.conns = ln, map[net.Conn]bool{}
	f.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.opened++
			if f.wrap != nil {
				nc = f.wrap(nc)
			}
			f.conns[nc] = true
			f.wg.Go(func() {
				f.serve(nc)
				nc.Close()
			})
			f.mu.Unlock()
		}
	})
}

// stop is a crash that leaves the items as they are.
func (f *fakeServer) stop() {
	f.mu.Lock()
	f.ln.Close()
	for nc := range f.conns {
		nc.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// has returns the value that the server itself has under key, or "".
func (f *fakeServer) has(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.items[key].value)
}

func (f *fakeServer) serve(nc net.Conn) {
	r := bufio.NewReader(nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		var out bytes.Buffer
		if !f.command(&out, strings.Fields(line), r) {
			return
		}
		if _, err := nc.Write(out.Bytes()); err != nil {
			return
		}
	}
}

// command carries out a command. It reports false when the connection is over.
func (f *fakeServer) command(out *bytes.Buffer, args []string, r *bufio.Reader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	flag := func(name byte) (string, bool) {
		for _, a := range args[2:] {
			if a[0] == name {
				return a[1:], true
			}
		}
		return "", false
	}
	opaque := func() string {
		o, _ := flag('O')
		return " O" + o
	}
	get := func(key string) (fakeItem, bool) {
		item, ok := f.items[key]
		if ok && !item.expires.IsZero() && !time.Now().Before(item.expires) {
			delete(f.items, key)
			ok = false
		}
		return item, ok
	}
	expires := func(old time.Time) time.Time {
		text, ok := flag('T')
		seconds, _ := strconv.ParseInt(text, 10, 64)
		switch {
		case !ok:
			return old
		case seconds == 0:
			return time.Time{}
		case seconds > maxRelativeTTL:
			return time.Unix(seconds, 0)
		}
		return time.Now().Add(time.Duration(seconds) * time.Second)
	}
	put := func(key string, item fakeItem) {
		f.cas++
		item.cas = f.cas
		f.items[key] = item
	}
	switch args[0] {
	case "mn":
		out.WriteString("MN\r\n")
	case "flush_all":
		f.flushes++
		clear(f.items)
		out.WriteString("OK\r\n")
	case "stats":
		fmt.Fprintf(out, "STAT curr_items %d\r\nEND\r\n", len(f.items))
	case "get":
		for _, key := range args[1:] {
			if item, ok := get(key); ok {
				fmt.Fprintf(out, "VALUE %s %d %d\r\n%s\r\n", key, item.flags, len(item.value), item.value)
			}
		}
		out.WriteString("END\r\n")
	case "mg":
		item, ok := get(args[1])
		if !ok {
			out.WriteString("EN\r\n")
			break
		}
		item.expires = expires(item.expires)
		f.items[args[1]] = item
		_, value := flag('v')
		if value {
			fmt.Fprintf(out, "VA %d", len(item.value))
		} else {
			out.WriteString("HD")
		}
		ttl := int64(-1)
		if !item.expires.IsZero() {
			ttl = int64(time.Until(item.expires).Round(time.Second) / time.Second)
		}
		fmt.Fprintf(out, " f%d c%d t%d%s\r\n", item.flags, item.cas, ttl, opaque())
		if value {
			fmt.Fprintf(out, "%s\r\n", item.value)
		}
	case "ms":
		size, _ := strconv.Atoi(args[2])
		value := make([]byte, size+2)
		if _, err := io.ReadFull(r, value); err != nil {
			return false
		}
		value = value[:size]
		if size > 1<<20-100 {
			out.WriteString("SERVER_ERROR object too large for cache\r\n")
			break
		}
		old, ok := get(args[1])
		mode, _ := flag('M')
		cas, hasCAS := flag('C')
		flags, _ := flag('F')
		item := fakeItem{value: value, expires: expires(time.Time{})}
		item.flags, _ = strconv.ParseUint(flags, 10, 32)
		status := "HD"
		switch {
		case mode == "E" && ok, (mode == "R" || mode == "A" || mode == "P") && !ok:
			status = "NS"
		case hasCAS && !ok:
			status = "NF"
		case hasCAS && cas != strconv.FormatUint(old.cas, 10):
			status = "EX"
		case mode == "A":
			old.value = append(bytes.Clone(old.value), value...)
			put(args[1], old)
		case mode == "P":
			old.value = append(value, old.value...)
			put(args[1], old)
		default:
			put(args[1], item)
		}
		fmt.Fprintf(out, "%s%s\r\n", status, opaque())
	case "md":
		_, ok := get(args[1])
		delete(f.items, args[1])
		fmt.Fprintf(out, "%s%s\r\n", map[bool]string{true: "HD", false: "NF"}[ok], opaque())
	case "ma":
		item, ok := get(args[1])
		if !ok {
			fmt.Fprintf(out, "NF%s\r\n", opaque())
			break
		}
		n, err := strconv.ParseUint(string(item.value), 10, 64)
		if err != nil {
			out.WriteString("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n")
			break
		}
		text, _ := flag('D')
		delta, _ := strconv.ParseUint(text, 10, 64)
		if mode, _ := flag('M'); mode == "D" {
			n -= min(n, delta)
		} else {
			n += delta
		}
		item.value = strconv.AppendUint(nil, n, 10)
		put(args[1], item)
		fmt.Fprintf(out, "VA %d%s\r\n%s\r\n", len(item.value), opaque(), item.value)
	default:
		out.WriteString("ERROR\r\n")
	}
	return true
}

// A fakePool is fake servers on a network in memory, for use in a bubble.
type fakePool struct {
	t       *testing.T
	net     *simnet.Network
	host    []*simnet.Host // of the servers
	client  *simnet.Host
	servers []*fakeServer
}

func newFakePool(t *testing.T, n int) *fakePool {
	p := &fakePool{t: t, net: &simnet.Network{Link: simnet.Link{Delay: time.Millisecond}}}
	p.client = p.net.Host(netip.MustParseAddr("10.0.0.100"))
	for i := range n {
		p.host = append(p.host, p.net.Host(p.addr(i)))
		p.servers = append(p.servers, &fakeServer{})
		p.start(i)
	}
	t.Cleanup(func() {
		for i := range n {
			p.stop(i)
		}
	})
	return p
}

func (p *fakePool) addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }

func (p *fakePool) start(i int) {
	ln, err := p.host[i].Listen("tcp", ":11211")
	require.NoError(p.t, err)
	p.servers[i].start(ln)
}

func (p *fakePool) stop(i int) { p.servers[i].stop() }

// newClient returns a client of all servers, which is closed when the test ends.
func (p *fakePool) newClient() *Client {
	c := &Client{Dial: p.client.DialContext}
	for i := range p.host {
		c.Servers = append(c.Servers, Node{Addr: p.addr(i).String()})
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// keyOf returns a key that belongs to server i of c, one of many.
func keyOf(t *testing.T, c *Client, i, nth int) string {
	require.NoError(t, c.init())
	for n := 0; ; n++ {
		key := fmt.Sprintf("key:%d:%d", nth, n)
		if c.pick(key) == i {
			return key
		}
	}
}
