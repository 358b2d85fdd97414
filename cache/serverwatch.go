package cache

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What the command watch can ask for.
const (
	watchFetchers   = 1 << iota // items looked up
	watchMutations              // items stored
	watchEvictions              // items that had to go
	watchDeletions              // items deleted
	watchConnevents             // connections that come and go
)

var watchKinds = map[string]uint32{
	"fetchers": watchFetchers, "mutations": watchMutations, "evictions": watchEvictions,
	"deletions": watchDeletions, "connevents": watchConnevents,
	"rawcmds": 0, "sysevents": 0, // known to memcached; of these we tell nothing
}

const watchBacklog = 256 // lines that wait for a watcher that does not read; further ones are skipped

// watchers are the connections that watch, live, what the server does.
type watchers struct {
	kinds atomic.Uint32 // what any of them wants
	lines atomic.Uint64 // how many there have been

	mu   sync.Mutex
	list []*watcher
}

type watcher struct {
	kinds   uint32
	lines   chan string
	skipped uint64 // since the last line; under watchers.mu
}

// wants reports whether anybody wants to hear of events of that kind: a quick
// look before a line is made.
func (w *watchers) wants(kind uint32) bool { return w.kinds.Load()&kind != 0 }

// tell tells an event to those who want to hear of it. It never waits.
func (w *watchers) tell(kind uint32, format string, args ...any) {
	now := time.Now()
	line := fmt.Sprintf("ts=%d.%06d gid=%d ", now.Unix(), now.Nanosecond()/1000, w.lines.Add(1)) +
		fmt.Sprintf(format, args...) + "\n"
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.list {
		if one.kinds&kind == 0 {
			continue
		}
		text := line
		if one.skipped > 0 {
			text = fmt.Sprintf("skipped=%d\n", one.skipped) + line
		}
		select {
		case one.lines <- text:
			one.skipped = 0
		default:
			one.skipped++
		}
	}
}

// count returns how many watchers there are.
func (w *watchers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.list)
}

// change adds a watcher, or takes it away.
func (w *watchers) change(one *watcher, add bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*watcher
	kinds := uint32(0)
	for _, o := range w.list {
		if o != one {
			list = append(list, o)
			kinds |= o.kinds
		}
	}
	if add {
		list = append(list, one)
		kinds |= one.kinds
	}
	w.list = list
	w.kinds.Store(kinds)
}

// watch answers watch [kind]...: from now on the connection only tells what
// happens.
func (c *conn) watch(args []byte) {
	if c.s.NoWatch {
		c.reply(replyClientError + "watch commands not allowed")
		return
	}
	one := &watcher{lines: make(chan string, watchBacklog)}
	for _, name := range strings.Fields(string(args)) {
		kind, ok := watchKinds[name]
		if !ok {
			c.reply(replyError)
			return
		}
		one.kinds |= kind
	}
	if len(args) == 0 {
		one.kinds = watchFetchers
	}
	if c.nc == nil {
		c.reply(replyError)
		return
	}
	c.closing = true
	c.s.watchers.change(one, true)
	defer c.s.watchers.change(one, false)
	c.reply(replyOK)
	if c.send() != nil {
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c.nc) // only to see the client leave
	}()
	defer func() {
		c.nc.Close()
		<-gone
	}()
	for {
		select {
		case line := <-one.lines:
			c.tick()
			c.out = append(c.output(), line...)
			if c.send() != nil {
				return
			}
			c.waitFor(waitsIdle)
		case <-gone:
			return
		case <-c.s.stop:
			return
		}
	}
}

// escape writes a key so that it is one word.
func escape(key []byte) string { return url.QueryEscape(string(key)) }

// watchGet tells that a key was looked up.
func (c *conn) watchGet(key []byte, found bool, size int) {
	if w := &c.s.watchers; w.wants(watchFetchers) {
		status := "not_found"
		if found {
			status = "found"
		}
		w.tell(watchFetchers, "type=item_get key=%s status=%s clsid=1 cfd=%d size=%d", escape(key), status, c.id, size)
	}
}

// watchPut tells how a storage command ended.
func (c *conn) watchPut(q *putRequest, result putResult) {
	c.watchGet(q.key, result.found, 0)
	if w := &c.s.watchers; w.wants(watchMutations) {
		ttl := uint32(0)
		if q.expires != 0 {
			ttl = max(q.expires, q.now) - q.now
		}
		w.tell(watchMutations, "type=item_store key=%s status=%s cmd=%s ttl=%d clsid=1 cfd=%d size=%d",
			escape(q.key), outcomeNames[result.outcome], modeNames[q.mode], ttl, c.id, result.size)
	}
}

var (
	outcomeNames = [...]string{
		stored: "stored", notStored: "not_stored", exists: "exists", notFound: "not_found", noMemory: "no_memory",
	}
	modeNames = [...]string{
		modeSet: "set", modeAdd: "add", modeReplace: "replace", modeAppend: "append", modePrepend: "prepend", modeCAS: "cas",
	}
)

// watchDelete tells that an item was deleted.
func (c *conn) watchDelete(r cell, command string) {
	if w := &c.s.watchers; w.wants(watchDeletions) {
		w.tell(watchDeletions, "type=deleted key=%s cmd=%s clsid=1 cfd=%d size=%d", escape(r.key()), command, c.id, r.vlen())
	}
}

// watchEviction tells that an item had to go.
func (s *Server) watchEviction(r cell) {
	if w := &s.watchers; w.wants(watchEvictions) {
		w.tell(watchEvictions, "type=eviction key=%s fetch=%s clsid=1 size=%d", escape(r.key()), yes(r.has(bitFetched)), r.vlen())
	}
}

// watchConn tells that a connection has come, or gone.
func (c *conn) watchConn(event, reason string) {
	if w := &c.s.watchers; w.wants(watchConnevents) {
		transport := "tcp"
		if _, ok := c.listener.(*net.UnixAddr); ok {
			transport = "local"
		}
		w.tell(watchConnevents, "type=%s peer=%s transport=%s%s cfd=%d", event, escape([]byte(socketName(c.peer))), transport, reason, c.id)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
