package cache

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serverVersion is what the command version answers: the memcached that we
// follow. Clients take the first three numbers for granted.
const serverVersion = "1.6.45-zocalo"

// ServerStats are a [Server]'s figures. Those that count begin at 0 when it
// starts, and after "stats reset".
type ServerStats struct {
	Items int64 // now
	Bytes int64 // that items take, with keys and heads
	Limit int64 // that items may take

	Conns        uint64 // open now
	TotalConns   uint64 // accepted
	Rejected     uint64 // one too many
	IdleKicks    uint64 // closed after IdleTimeout
	BytesRead    uint64 // from clients
	BytesWritten uint64 // to clients

	Gets          uint64 // keys asked for
	Hits          uint64 // of these, found
	Sets          uint64 // storage commands
	Stored        uint64 // items stored
	Evictions     uint64 // items that had to go for others
	EvictedUnread uint64 // of these, those that nobody had ever asked for
	Reclaimed     uint64 // items found expired or flushed
	TooLarge      uint64 // values refused because of MaxItem
	NoMemory      uint64 // values refused because nothing could go
}

// Stats returns the figures. It may be called at any time.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	a, conns := s.arena, len(s.conns)
	s.mu.Unlock()
	if a == nil {
		return ServerStats{}
	}
	t := a.totals()
	c := &s.count
	return ServerStats{
		Items: t.items, Bytes: t.bytes, Limit: a.limit(),
		Conns: uint64(conns), TotalConns: c.conns.Load(), Rejected: c.rejected.Load(), IdleKicks: c.idleKicks.Load(),
		BytesRead: c.bytesRead.Load(), BytesWritten: c.bytesWritten.Load(),
		Gets: t.gets, Hits: t.getHits, Sets: t.sets, Stored: t.total,
		Evictions: t.evictions, EvictedUnread: t.evictedUnread, Reclaimed: t.reclaimed,
		TooLarge: c.tooLarge.Load(), NoMemory: t.noMemory,
	}
}

// totals adds up the figures of all parts.
func (a *arena) totals() (t partStats) {
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		s := p.stats
		p.mu.Unlock()
		t.items += s.items
		t.bytes += s.bytes
		t.total += s.total
		t.gets += s.gets
		t.getHits += s.getHits
		t.getExpired += s.getExpired
		t.getFlushed += s.getFlushed
		t.sets += s.sets
		t.touches += s.touches
		t.touchHits += s.touchHits
		t.deleteHits += s.deleteHits
		t.deleteMisses += s.deleteMisses
		t.incrHits += s.incrHits
		t.incrMisses += s.incrMisses
		t.decrHits += s.decrHits
		t.decrMisses += s.decrMisses
		t.casHits += s.casHits
		t.casMisses += s.casMisses
		t.casBad += s.casBad
		t.evictions += s.evictions
		t.reclaimed += s.reclaimed
		t.evictedUnread += s.evictedUnread
		t.noMemory += s.noMemory
	}
	return t
}

// limit returns how much memory the arena may take.
func (a *arena) limit() int64 {
	p := &a.parts[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	return int64(p.log.limit) * int64(len(a.parts))
}

// mapped returns how much memory it has taken for segments, and for tables.
func (a *arena) mapped() (segments, tables int64) {
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		segments += int64(p.log.mapped() * segmentSize)
		tables += int64(p.log.table)
		p.mu.Unlock()
	}
	return segments, tables
}

// resetStats makes all counters 0, as the command "stats reset" wants.
func (s *Server) resetStats() {
	for i := range s.arena.parts {
		p := &s.arena.parts[i]
		p.mu.Lock()
		p.stats = partStats{items: p.stats.items, bytes: p.stats.bytes}
		p.mu.Unlock()
	}
	for _, n := range []*atomic.Uint64{
		&s.count.conns, &s.count.rejected, &s.count.idleKicks, &s.count.bytesRead, &s.count.bytesWritten,
		&s.count.yields, &s.count.flushes, &s.count.metas, &s.count.tooLarge,
		&s.count.authentications, &s.count.authErrors, &s.count.crawled,
	} {
		n.Store(0)
	}
	s.keys.reset()
}

// stats answers the command stats.
func (c *conn) stats(args []byte) {
	s := c.s
	which, rest := word(args)
	switch string(which) {
	case "":
		c.generalStats()
	case "settings":
		c.settingStats()
	case "conns":
		c.connStats()
	case "items":
		t := c.a.totals()
		if t.items > 0 {
			c.stat("items:1:number", t.items)
			c.stat("items:1:evicted", t.evictions)
			c.stat("items:1:evicted_unfetched", t.evictedUnread)
			c.stat("items:1:reclaimed", t.reclaimed)
			c.stat("items:1:outofmemory", t.noMemory)
			c.stat("items:1:crawler_reclaimed", s.count.crawled.Load())
		}
	case "slabs":
		t := c.a.totals()
		segments, _ := c.a.mapped()
		c.stat("1:used_chunks", t.items)
		c.stat("active_slabs", 1)
		c.stat("total_malloced", segments)
	case "sizes":
		c.stat("sizes_status", "disabled")
	case "reset":
		c.s.resetStats()
		c.reply("RESET")
		return
	case "detail":
		c.detailStats(rest)
		return
	case "cachedump":
		c.cachedump(rest)
		return
	default:
		c.reply(replyError)
		return
	}
	c.reply(replyEnd)
}

// stat answers one figure.
func (c *conn) stat(name string, value any) {
	c.out = fmt.Appendf(c.output(), "STAT %s %v\r\n", name, value)
}

func (c *conn) generalStats() {
	s := c.s
	t := c.a.totals()
	now := time.Now()
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	_, tables := c.a.mapped()
	user, system := processTimes()
	c.stat("pid", os.Getpid())
	c.stat("uptime", s.now.unix(now)-s.start.Unix())
	c.stat("time", s.now.unix(now))
	c.stat("version", serverVersion)
	c.stat("pointer_size", strconv.IntSize)
	c.stat("rusage_user", fmt.Sprintf("%.6f", user.Seconds()))
	c.stat("rusage_system", fmt.Sprintf("%.6f", system.Seconds()))
	c.stat("max_connections", orDefault(s.MaxConns, 1024))
	c.stat("curr_connections", conns)
	c.stat("total_connections", s.count.conns.Load())
	c.stat("rejected_connections", s.count.rejected.Load())
	c.stat("connection_structures", conns)
	c.stat("cmd_get", t.gets)
	c.stat("cmd_set", t.sets)
	c.stat("cmd_flush", s.count.flushes.Load())
	c.stat("cmd_touch", t.touches)
	c.stat("cmd_meta", s.count.metas.Load())
	c.stat("get_hits", t.getHits)
	c.stat("get_misses", t.gets-t.getHits)
	c.stat("get_expired", t.getExpired)
	c.stat("get_flushed", t.getFlushed)
	c.stat("delete_misses", t.deleteMisses)
	c.stat("delete_hits", t.deleteHits)
	c.stat("incr_misses", t.incrMisses)
	c.stat("incr_hits", t.incrHits)
	c.stat("decr_misses", t.decrMisses)
	c.stat("decr_hits", t.decrHits)
	c.stat("cas_misses", t.casMisses)
	c.stat("cas_hits", t.casHits)
	c.stat("cas_badval", t.casBad)
	c.stat("touch_hits", t.touchHits)
	c.stat("touch_misses", t.touches-t.touchHits)
	c.stat("store_too_large", s.count.tooLarge.Load())
	c.stat("store_no_memory", t.noMemory)
	c.stat("auth_cmds", s.count.authentications.Load())
	c.stat("auth_errors", s.count.authErrors.Load())
	if s.IdleTimeout > 0 {
		c.stat("idle_kicks", s.count.idleKicks.Load())
	}
	c.stat("bytes_read", s.count.bytesRead.Load())
	c.stat("bytes_written", s.count.bytesWritten.Load())
	c.stat("limit_maxbytes", c.a.limit())
	c.stat("accepting_conns", 1)
	c.stat("threads", runtime.GOMAXPROCS(0))
	c.stat("conn_yields", s.count.yields.Load())
	c.stat("hash_bytes", tables)
	c.stat("log_watchers", s.watchers.count())
	c.stat("bytes", t.bytes)
	c.stat("curr_items", t.items)
	c.stat("total_items", t.total)
	c.stat("evicted_unfetched", t.evictedUnread)
	c.stat("evictions", t.evictions)
	c.stat("reclaimed", t.reclaimed)
	for _, name := range strings.Fields(absent) {
		c.stat(name, 0)
	}
}

// absent are figures of memcached that mean nothing here, since our memory has
// neither slabs nor lists, and connections have no pools.
const absent = `
	response_obj_oom response_obj_count response_obj_bytes read_buf_count read_buf_bytes
	read_buf_bytes_free read_buf_oom reserved_fds listen_disabled_num time_in_listen_disabled_us
	hash_power_level hash_is_expanding slab_reassign_rescues slab_reassign_chunk_rescues
	slab_reassign_inline_reclaim slab_reassign_busy_items slab_reassign_busy_deletes
	slab_reassign_busy_nomem slab_reassign_last_busy_status slab_reassign_running slabs_moved
	slab_global_page_pool malloc_fails log_worker_dropped log_worker_written log_watcher_skipped
	log_watcher_sent unexpected_napi_ids round_robin_fallback expired_unfetched
	crawler_items_checked lrutail_reflocked moves_to_cold direct_reclaims`

func (c *conn) settingStats() {
	s := c.s
	evictions := "on"
	if s.NoEvict {
		evictions = "off"
	}
	settings := map[string]string{
		"maxbytes":           strconv.FormatInt(c.a.limit(), 10),
		"maxconns":           strconv.Itoa(orDefault(s.MaxConns, 1024)),
		"item_size_max":      strconv.Itoa(orDefault(s.MaxItem, defaultMaxItem)),
		"evictions":          evictions,
		"flush_enabled":      yes(!s.NoFlush),
		"shutdown_command":   yes(s.OnShutdown != nil),
		"reqs_per_event":     strconv.Itoa(orDefault(s.MaxBatch, 20)),
		"idle_timeout":       strconv.Itoa(int(s.IdleTimeout / time.Second)),
		"detail_enabled":     yes(s.keys.on.Load()),
		"num_threads":        strconv.Itoa(runtime.GOMAXPROCS(0)),
		"auth_enabled_ascii": yes(s.Authenticate != nil),
		"cas_enabled":        "yes",
		"auth_enabled_sasl":  "no",
		"binding_protocol":   "ascii",
		"hash_algorithm":     "maphash",
		"client_flags_size":  "4",
	}
	s.mu.Lock()
	for _, e := range s.listeners {
		if a, ok := e.addr.(*net.UnixAddr); ok {
			settings["domain_socket"] = a.Name
		}
	}
	s.mu.Unlock()
	maps.Copy(settings, s.Settings)
	settings["lru_crawler"] = yes(!s.noCrawler.Load())
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		c.stat(name, settings[name])
	}
}

// connStats lists listeners and connections.
func (c *conn) connStats() {
	s := c.s
	now := time.Now()
	var lines []string // made under the lock, answered without it
	s.mu.Lock()
	for _, e := range s.listeners {
		state := "conn_listening"
		if e.addr.Network() == "udp" {
			state = "conn_read"
		}
		lines = append(lines, fmt.Sprintf("STAT %d:addr %s\r\nSTAT %d:state %s\r\n", e.id, socketName(e.addr), e.id, state))
	}
	byID := func(a, b *conn) int { return a.id - b.id }
	for _, o := range slices.SortedFunc(maps.Keys(s.conns), byID) {
		state := "conn_read"
		what, since := o.waiting()
		switch {
		case o == c:
			state = "conn_parse_cmd"
		case what == waitsMore:
			state = "conn_nread"
		case what == waitsWrite:
			state = "conn_mwrite"
		}
		lines = append(lines, fmt.Sprintf("STAT %d:addr %s\r\nSTAT %d:listen_addr %s\r\nSTAT %d:state %s\r\nSTAT %d:secs_since_last_cmd %d\r\n",
			o.id, socketName(o.peer), o.id, socketName(o.listener), o.id, state, o.id, int(now.Sub(since).Seconds())))
	}
	s.mu.Unlock()
	for _, l := range lines {
		c.out = append(c.output(), l...)
		c.sendSome()
	}
}

// socketName writes an address as memcached does: tcp:127.0.0.1:11211.
func socketName(a net.Addr) string {
	if a == nil || a.String() == "" || a.String() == "@" {
		return "unix:"
	}
	return a.Network() + ":" + a.String()
}

// detailStats answers stats detail on|off|dump.
func (c *conn) detailStats(args []byte) {
	what, _ := word(args)
	switch string(what) {
	case "on", "off":
		c.s.keys.on.Store(string(what) == "on")
		c.reply(replyOK)
	case "dump":
		for _, l := range c.s.keys.dump() {
			c.reply(l)
			c.sendSome()
		}
		c.reply(replyEnd)
	default:
		c.reply(replyClientError + "usage: stats detail on|off|dump")
	}
}

// prefixStats counts commands by what comes before the colon in their keys.
type prefixStats struct {
	on     atomic.Bool
	mu     sync.Mutex
	counts map[string]*prefixCount
}

type prefixCount struct{ gets, hits, sets, deletes uint64 }

const maxPrefixes = 1000 // further ones are not counted

// count calls f with the key's counts, if they are kept.
func (k *prefixStats) count(key []byte, f func(*prefixCount)) {
	prefix, _, ok := bytes.Cut(key, []byte(":"))
	if !ok || len(prefix) > 0 && !validKey(prefix) { // base64 may bring ends of lines
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.counts[string(prefix)]
	if n == nil {
		if len(k.counts) >= maxPrefixes {
			return
		}
		if k.counts == nil {
			k.counts = map[string]*prefixCount{}
		}
		n = new(prefixCount)
		k.counts[string(prefix)] = n
	}
	f(n)
}

func (k *prefixStats) get(key []byte, hit bool) {
	if k.on.Load() {
		k.count(key, func(n *prefixCount) {
			n.gets++
			if hit {
				n.hits++
			}
		})
	}
}

func (k *prefixStats) set(key []byte) {
	if k.on.Load() {
		k.count(key, func(n *prefixCount) { n.sets++ })
	}
}

func (k *prefixStats) delete(key []byte) {
	if k.on.Load() {
		k.count(key, func(n *prefixCount) { n.deletes++ })
	}
}

func (k *prefixStats) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts = nil
}

func (k *prefixStats) dump() (lines []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, prefix := range slices.Sorted(maps.Keys(k.counts)) {
		n := k.counts[prefix]
		lines = append(lines, fmt.Sprintf("PREFIX %s get %d hit %d set %d del %d", prefix, n.gets, n.hits, n.sets, n.deletes))
	}
	return lines
}
