package cache

import (
	"bytes"
	"strconv"
	"time"
)

// word cuts the first word off a line. Words are separated by spaces.
func word(line []byte) (w, rest []byte) {
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		return line[:i], line[i+1:]
	}
	return line, nil
}

// lastWord returns the last word of a line.
func lastWord(line []byte) []byte {
	line = bytes.TrimRight(line, " ")
	return line[bytes.LastIndexByte(line, ' ')+1:]
}

// parseUint reads a decimal number of at most that many bits, and nothing else.
func parseUint(b []byte, bits int) (uint64, bool) {
	if len(b) == 0 || b[len(b)-1] == ' ' {
		return 0, false
	}
	n, ok := parseNumber(b)
	return n, ok && (bits == 64 || n>>bits == 0)
}

// parseInt reads a decimal number of 32 bits with or without a minus.
func parseInt(b []byte) (int32, bool) {
	digits, minus := bytes.CutPrefix(b, []byte("-"))
	n, ok := parseUint(digits, 31)
	if minus {
		return -int32(n), ok
	}
	return int32(n), ok
}

// expiry turns an expiration time of the protocol into Unix seconds; 0 is never.
func (c *conn) expiry(exptime int32) uint32 {
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return 1 // long ago
	case exptime > maxRelativeTTL:
		return uint32(exptime)
	default:
		return c.now + uint32(exptime)
	}
}

// command carries out one command line. whole is false if more words belong to
// it.
func (c *conn) command(line []byte, whole bool) {
	if t := c.s.Trace; t != nil && t.Command != nil {
		t.Command(c.peer, line)
	}
	c.quiet = false
	switch {
	case c.long != longNone:
		c.getMore(line, whole)
		return
	case !c.authenticated:
		c.authenticate(line)
		return
	case len(line) < 2:
		c.reply(replyClientError + badFormat)
		return
	}
	name, args := word(line)
	if len(name) == 2 && name[0] == 'm' && c.metaCommand(name[1], args) {
		return
	}
	if get, ok := getCommands(name); ok {
		c.get(get, args, whole)
		return
	}
	if mode, ok := storageCommands(name); ok {
		c.store(mode, args)
		return
	}
	c.quiet = string(lastWord(args)) == "noreply"
	switch string(name) {
	case "delete":
		c.delete(args)
	case "incr":
		c.increment(args, true)
	case "decr":
		c.increment(args, false)
	case "touch":
		c.touch(args)
	default:
		c.administer(name, args)
	}
}

// A getCommand is a variant of get.
type getCommand struct{ cas, touch bool }

func getCommands(name []byte) (getCommand, bool) {
	switch string(name) {
	case "get":
		return getCommand{}, true
	case "gets":
		return getCommand{cas: true}, true
	case "gat":
		return getCommand{touch: true}, true
	case "gats":
		return getCommand{cas: true, touch: true}, true
	}
	return getCommand{}, false
}

// isGet reports whether a line begins with a get of some kind.
func isGet(line []byte) bool {
	name, _ := word(line)
	_, ok := getCommands(name)
	return ok
}

// A longGet says how a get goes on whose line did not fit in the buffer.
type longGet byte

const (
	longNone longGet = iota
	longGo           // answer the other keys
	longSkip         // it has failed
)

// get answers get, gets, gat and gats.
func (c *conn) get(cmd getCommand, args []byte, whole bool) {
	c.getting = cmd
	key, rest := word(args)
	if cmd.touch {
		exptime, ok := parseInt(key)
		key, rest = word(rest)
		if !ok && len(key) > 0 {
			c.getFailed(replyClientError+badExptime, whole)
			return
		}
		c.getExpires = c.expiry(exptime)
	}
	if len(key) == 0 && whole {
		c.getFailed(replyClientError+badFormat, whole)
		return
	}
	c.getKeys(key, rest, whole)
}

// getMore answers the next keys of a long get.
func (c *conn) getMore(line []byte, whole bool) {
	if c.long == longSkip {
		if whole {
			c.long = longNone
		}
		return
	}
	key, rest := word(line)
	c.getKeys(key, rest, whole)
}

func (c *conn) getFailed(line string, whole bool) {
	c.reply(line)
	c.long = longNone
	if !whole {
		c.long = longSkip
	}
}

func (c *conn) getKeys(key, rest []byte, whole bool) {
	begin := len(c.output())
	sends := c.sends
	for ; len(key) > 0; key, rest = word(rest) {
		if len(key) > maxKeyLen {
			if c.sends == sends {
				c.out = c.out[:begin] // the error is the whole answer
			}
			c.getFailed(replyClientError+badFormat, whole)
			return
		}
		c.getOne(key)
		if c.closing {
			return
		}
	}
	if !whole {
		c.long = longGo
		return
	}
	c.long = longNone
	c.reply(replyEnd)
}

// getOne answers one key of a get.
func (c *conn) getOne(key []byte) {
	hash := c.a.hash(key)
	p := c.a.lock(hash)
	r := p.find(hash, key, c.now)
	cmd := c.getting
	c.s.keys.get(key, r != nil)
	if cmd.touch {
		p.stats.touches++
	}
	p.stats.gets++
	if r == nil {
		p.unlock()
		c.watchGet(key, false, 0)
		return
	}
	c.watchGet(key, true, r.vlen())
	p.stats.getHits++
	if cmd.touch {
		p.stats.touchHits++
		r.setExpires(c.getExpires)
	}
	r.use(c.now)
	mark := len(c.out)
	b := append(c.out, "VALUE "...)
	b = append(b, key...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(r.flags()), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(r.vlen()), 10)
	if cmd.cas {
		b = append(b, ' ')
		b = strconv.AppendUint(b, r.cas(), 10)
	}
	b = append(b, '\r', '\n')
	c.out = b
	if !c.appendValue(p, r) {
		c.out = c.out[:mark] // it has just been evicted
	}
}

// appendValue appends the item's value and the end of its line to the answers
// and unlocks the part. It reports false, and has done nothing, if the value is
// no longer there.
func (c *conn) appendValue(p *part, r cell) bool {
	if !r.has(bitLarge) {
		c.out = append(append(c.out, r.value()...), '\r', '\n')
		p.unlock()
		c.sendSome()
		return true
	}
	number, size := r.number(), r.vlen()
	ok := c.a.large.pin(number)
	p.unlock()
	if !ok {
		return false
	}
	for i := range pieces(size) {
		c.out = c.a.appendPiece(c.out, number, i)
		c.sendSome()
		if c.closing {
			break
		}
	}
	c.a.unpin(number)
	c.out = append(c.out, '\r', '\n')
	return true
}

// sendSome sends the answers if they have become long.
func (c *conn) sendSome() {
	if len(c.out) < flushAt {
		return
	}
	c.nanos = time.Now().UnixNano() // who takes a long answer slowly, but takes it, is waited for
	if c.send() != nil {
		c.closing = true
	}
}

// delete answers: key [noreply]. More words are ignored, as in memcached.
func (c *conn) delete(args []byte) {
	key, _ := word(args)
	if len(key) == 0 || len(key) > maxKeyLen {
		c.reply(replyClientError + badFormat)
		return
	}
	c.s.keys.delete(key)
	hash := c.a.hash(key)
	p := c.a.lock(hash)
	defer p.unlock()
	r := p.find(hash, key, c.now)
	if r == nil {
		p.stats.deleteMisses++
		c.reply(replyNotFound)
		return
	}
	p.stats.deleteHits++
	c.watchDelete(r, "delete")
	p.discard(hash, key)
	c.reply(replyDeleted)
}

// increment answers incr and decr: key delta [noreply].
func (c *conn) increment(args []byte, incr bool) {
	key, rest := word(args)
	by, _ := word(rest)
	if len(by) == 0 || len(key) > maxKeyLen {
		c.reply(replyClientError + badFormat)
		return
	}
	delta, ok := parseUint(by, 64)
	if !ok {
		c.reply(replyClientError + badDelta)
		return
	}
	q := putRequest{key: key, hash: c.a.hash(key), now: c.now}
	p := c.a.lock(q.hash)
	defer p.unlock()
	r := p.find(q.hash, key, c.now)
	if r == nil {
		p.missedNumber(incr)
		c.reply(replyNotFound)
		return
	}
	var buf [20]byte
	text, _, outcome := p.add(r, &q, incr, delta, buf[:0])
	switch outcome {
	case notNumber:
		c.reply(replyClientError + notANumber)
	case noMemory:
		c.reply(replyServerError + "out of memory")
	default:
		if !c.quiet {
			c.out = append(append(c.output(), text...), '\r', '\n')
		}
	}
}

func (p *part) missedNumber(incr bool) {
	if incr {
		p.stats.incrMisses++
	} else {
		p.stats.decrMisses++
	}
}

// touch answers: key exptime [noreply].
func (c *conn) touch(args []byte) {
	key, rest := word(args)
	when, _ := word(rest)
	if len(when) == 0 || len(key) > maxKeyLen {
		c.reply(replyClientError + badFormat)
		return
	}
	exptime, ok := parseInt(when)
	if !ok {
		c.reply(replyClientError + badExptime)
		return
	}
	hash := c.a.hash(key)
	p := c.a.lock(hash)
	defer p.unlock()
	p.stats.touches++
	r := p.find(hash, key, c.now)
	if r == nil {
		c.reply(replyNotFound)
		return
	}
	p.stats.touchHits++
	r.use(c.now)
	r.setExpires(c.expiry(exptime))
	c.reply(replyTouched)
}
