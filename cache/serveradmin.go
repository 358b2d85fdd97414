package cache

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// administer answers the commands that do not deal with items.
func (c *conn) administer(name, args []byte) {
	first, rest := word(args)
	switch string(name) {
	case "version":
		c.reply("VERSION " + serverVersion)
	case "quit":
		c.closing = true
	case "stats":
		c.quiet = false
		c.stats(args)
	case "flush_all":
		c.flushAll(first)
	case "verbosity":
		// What is told, and how much, is the business of the Trace.
		if _, ok := parseUint(first, 32); !ok {
			c.reply(replyClientError + badFormat)
			return
		}
		c.reply(replyOK)
	case "cache_memlimit":
		c.setLimit(first)
	case "shutdown":
		c.shutdown(first)
	case "watch":
		c.watch(args)
	case "lru_crawler":
		c.crawler(first, rest)
	case "debugtime":
		c.debugTime(first)
	case "slabs":
		// Our memory has no slabs; clients that manage them hear that all is
		// well.
		level, _ := word(rest)
		if _, ok := parseUint(level, 32); string(first) != "automove" || !ok {
			c.reply(replyClientError + badFormat)
			return
		}
		c.reply(replyOK)
	default:
		if bytes.HasPrefix(lastWord(args), []byte("HTTP/")) {
			// A browser, or an attacker who makes one send commands to us: the
			// next lines of its request must not be carried out.
			c.closing, c.err = true, errHTTP
			return
		}
		c.reply(replyError)
	}
}

var errHTTP = errors.New("cache: the client speaks HTTP")

// flushAll answers flush_all [delay].
func (c *conn) flushAll(arg []byte) {
	c.s.count.flushes.Add(1)
	if c.s.NoFlush {
		c.reply(replyClientError + "flush_all not allowed")
		return
	}
	var delay int32
	if len(arg) > 0 && string(arg) != "noreply" {
		var ok bool
		if delay, ok = parseInt(arg); !ok {
			c.reply(replyClientError + badExptime)
			return
		}
	}
	if when := c.expiry(delay); delay > 0 && when > c.now {
		c.s.flush.Store(int64(when))
	} else {
		c.s.flush.Store(0)
		c.a.flush(c.now)
	}
	c.reply(replyOK)
}

// setLimit answers cache_memlimit: mebibytes.
func (c *conn) setLimit(arg []byte) {
	n, ok := parseUint(arg, 32)
	switch {
	case !ok:
		c.reply(replyError)
	case n < 8:
		c.reply("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")
	case n > 1_000_000_000:
		c.reply("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")
	default:
		c.a.setLimit(int64(n)<<20, c.now)
		c.reply(replyOK)
	}
}

// shutdown answers shutdown [graceful].
func (c *conn) shutdown(arg []byte) {
	switch {
	case c.s.OnShutdown == nil:
		c.reply("SERVER_ERROR: shutdown not enabled")
	case len(arg) > 0 && string(arg) != "graceful":
		c.reply(replyClientError + "invalid shutdown mode")
	default:
		c.closing = true
		go c.s.OnShutdown(len(arg) > 0)
	}
}

// debugTime answers debugtime: seconds, or p and r to stop and go on.
func (c *conn) debugTime(arg []byte) {
	clock := &c.s.now
	n, ok := parseInt(arg)
	switch {
	case !c.s.DebugTime:
		c.reply(replyError)
		return
	case string(arg) == "p":
		clock.paused.CompareAndSwap(0, time.Now().Unix())
	case string(arg) == "r":
		clock.paused.Store(0)
	case ok:
		clock.shift.Add(int64(n))
	default:
		c.reply(replyError)
		return
	}
	c.tick()
	c.reply(replyOK)
}

// crawler answers lru_crawler, by which memcached's own crawler is steered. Ours
// has nothing to steer, but the commands that list keys and remove what has
// expired are of use.
func (c *conn) crawler(what, rest []byte) {
	which, _ := word(rest)
	switch string(what) {
	case "enable", "disable":
		c.s.noCrawler.Store(string(what) == "disable")
	case "tocrawl", "sleep":
		if _, ok := parseUint(which, 32); !ok {
			c.reply(replyClientError + badFormat)
			return
		}
	case "crawl", "metadump":
		switch {
		case len(which) == 0:
			c.reply(replyError)
			return
		case c.s.noCrawler.Load():
			c.reply(replyClientError + "lru crawler disabled")
			return
		case string(what) == "metadump":
			c.metadump()
			return
		}
		for i := range c.a.parts {
			p := &c.a.parts[i]
			p.mu.Lock()
			n := p.removeExpired(c.now)
			p.unlock()
			c.s.count.crawled.Add(n)
		}
	default:
		c.reply(replyError)
		return
	}
	c.reply(replyOK)
}

// removeExpired removes the items whose time is over, and returns how many.
func (p *part) removeExpired(now uint32) (n uint64) {
	for i := 0; i < len(p.table)/8; {
		s := p.slot(uint32(i))
		if s != 0 {
			if r := p.log.at(place(s)); !r.has(bitPiece) && r.expired(now) {
				p.remove(uint32(i), r) // perhaps another one moves here
				n++
				continue
			}
		}
		i++
	}
	return n
}

// metadump lists the keys of all items, with what is known of them.
func (c *conn) metadump() {
	if len(c.out) > 0 {
		c.reply("ERROR cannot pipeline other commands before metadump")
		return
	}
	c.reply(replyOK)
	c.list(func(b []byte, r cell) []byte {
		expires := int64(-1)
		if r.expires() != 0 {
			expires = int64(r.expires())
		}
		return fmt.Appendf(b, "key=%s exp=%d la=%d cas=%d fetch=%s cls=1 size=%d flags=%d\n",
			escape(r.key()), expires, r.used(), r.cas(), yes(r.has(bitFetched)), cellSize(int(r[2]), r.vlen()), r.flags())
	})
	c.reply(replyEnd)
}

// cachedump answers stats cachedump: class limit.
func (c *conn) cachedump(args []byte) {
	class, rest := word(args)
	number, _ := word(rest)
	_, ok1 := parseUint(class, 32)
	limit, ok2 := parseUint(number, 32)
	if !ok1 || !ok2 {
		c.reply(replyClientError + badFormat)
		return
	}
	n := uint64(0)
	c.list(func(b []byte, r cell) []byte {
		if n++; n > limit && limit > 0 || r.has(bitBinary) {
			return b
		}
		return fmt.Appendf(b, "ITEM %s [%d b; %d s]\r\n", r.key(), r.vlen(), r.expires())
	})
	c.reply(replyEnd)
}

// list appends a line for each item. Lines are made while a part is locked, some
// slots at a time, and sent while it is not: a client that does not read must
// not stop the others. So an item that moves meanwhile may be missed.
func (c *conn) list(line func([]byte, cell) []byte) {
	const slots = 16 // so many lines fit in the buffer
	for i := range c.a.parts {
		p := &c.a.parts[i]
		for j, more := 0, true; more && !c.closing; j += slots {
			p.mu.Lock()
			n := len(p.table) / 8
			for k := j; k < min(j+slots, n); k++ {
				s := p.slot(uint32(k))
				if s == 0 {
					continue
				}
				r := p.log.at(place(s))
				if !r.has(bitPiece) && r[28] == p.generation && !r.expired(c.now) {
					c.out = line(c.output(), r)
				}
			}
			more = j+slots < n
			p.mu.Unlock()
			c.sendSome()
		}
	}
}
