package cache

import (
	"encoding/base64"
	"strconv"
)

// metaCommand carries out a meta command, if there is one of that letter.
func (c *conn) metaCommand(letter byte, args []byte) bool {
	switch letter {
	case 'n':
		c.reply("MN")
		return true
	case 's':
		c.metaSet(args)
		return true
	case 'g', 'd', 'a', 'e':
	default:
		return false
	}
	key, flags := word(args)
	if len(key) == 0 {
		c.reply(replyClientError + badFormat)
		return true
	}
	if problem := c.parseMeta(key, flags); problem != "" {
		if letter == 'a' {
			problem = "invalid or duplicate flag"
		}
		c.reply(replyClientError + problem)
		return true
	}
	switch letter {
	case 'g':
		c.metaGet()
	case 'd':
		c.metaDelete()
	case 'a':
		c.metaArithmetic()
	case 'e':
		c.metaDebug()
	}
	return true
}

// metaGet answers mg.
func (c *conn) metaGet() {
	m := &c.meta
	q := &m.put
	p := c.a.lock(q.hash)
	r := p.find(q.hash, q.key, c.now)
	c.s.keys.get(q.key, r != nil)
	out := c.output()
	mark := len(out)
	created := false
	if r == nil && m.has('N') {
		p.stats.sets++
		if result := p.store(q, value{}, nil, 0, m.vivify, 0); result.outcome == noMemory {
			p.unlock()
			c.reply(replyServerError + outOfMemory)
			return
		}
		_, r = p.search(q.hash, q.key, 0)
		created = true
	}
	if m.has('T') {
		p.stats.touches++
	}
	p.stats.gets++
	if r == nil {
		p.unlock()
		c.watchGet(q.key, false, 0)
		c.metaMiss(mark)
		return
	}
	c.watchGet(q.key, true, r.vlen())
	p.stats.getHits++
	withValue := m.has('v') && !(m.has('C') && q.compare == r.cas())
	if withValue {
		out = strconv.AppendUint(append(out, "VA "...), uint64(r.vlen()), 10)
	} else {
		out = append(out, "HD"...)
	}
	won := created
	for f, rest := word(m.flags); len(f) > 0; f, rest = word(rest) {
		switch f[0] {
		case 'T':
			p.stats.touchHits++
			r.setExpires(m.newTTL)
		case 'R':
			if !r.has(bitWon) && !created && r.expires() != 0 && r.expires() < m.recache {
				won = true
			}
		case 's':
			out = appendFlag(out, 's', uint64(r.vlen()))
		case 't':
			out = appendTTL(out, r.expires(), c.now)
		case 'c':
			out = appendFlag(out, 'c', r.cas())
		case 'f':
			out = appendFlag(out, 'f', uint64(r.flags()))
		case 'l':
			out = appendFlag(out, 'l', uint64(c.now-r.used()))
		case 'h':
			hit := uint64(0)
			if r.has(bitFetched) {
				hit = 1
			}
			out = appendFlag(out, 'h', hit)
		case 'O':
			out = append(append(out, ' '), f...)
		case 'k':
			out = appendKey(append(out, " k"...), r.key(), r.has(bitBinary))
		}
	}
	if r.has(bitWon) {
		out = append(out, " Z"...)
	}
	if r.has(bitStale) {
		out = append(out, " X"...)
		won = won || !r.has(bitWon)
	}
	if won {
		out = append(out, " W"...)
		r.set(bitWon)
	}
	if !m.has('u') {
		r.use(c.now)
	}
	c.out = append(out, '\r', '\n')
	if !withValue {
		p.unlock()
		return
	}
	if !c.appendValue(p, r) {
		c.metaMiss(mark)
	}
}

// metaMiss answers mg when there is no item.
func (c *conn) metaMiss(mark int) {
	c.out = c.out[:mark]
	if !c.meta.has('q') {
		c.out = append(c.meta.appendEcho(append(c.out, "EN"...)), '\r', '\n')
	}
}

// metaSet answers ms: key bytes flags...
func (c *conn) metaSet(args []byte) {
	for {
		key, rest := word(args)
		number, flags := word(rest)
		length, ok := parseUint(number, 31)
		if !ok || length > 1<<31-3 { // we do not know where the next command begins
			c.reply(replyClientError + badFormat)
			return
		}
		size := int(length)
		problem := c.parseMeta(key, flags)
		if problem == "" {
			problem = c.meta.setMode()
		}
		switch {
		case problem != "":
			c.refuseValue(size, replyClientError+problem)
			return
		case c.w-c.r >= size+2 || len(c.saved) > 0:
			if r, ok := c.storeValue(&c.meta.put, size); ok {
				c.metaStored(r)
			}
			return
		}
		// While the value comes in, the buffer in which args is may be moved.
		c.saved = append(c.saved[:0], args...)
		args = c.saved
	}
}

// setMode fills in the request of ms.
func (m *metaRequest) setMode() (problem string) {
	q := &m.put
	q.expires = m.newTTL
	switch m.mode {
	case 0, 'S', 's':
		q.mode = modeSet
	case 'E', 'e':
		q.mode = modeAdd
	case 'R', 'r':
		q.mode = modeReplace
	case 'A', 'a':
		q.mode = modeAppend
	case 'P', 'p':
		q.mode = modePrepend
	default:
		return "invalid mode for ms M token"
	}
	switch q.mode {
	case modeAppend, modePrepend:
		if q.vivify = m.has('N'); q.vivify {
			q.expires = m.vivify
		}
	case modeSet, modeReplace:
		if m.has('C') {
			q.mode, q.stale = modeCAS, m.has('I')
		}
	}
	return ""
}

// metaCodes are the answers to ms.
var metaCodes = [...]string{stored: "HD", notStored: "NS", exists: "EX", notFound: "NF"}

func (c *conn) metaStored(result putResult) {
	m := &c.meta
	switch {
	case result.outcome == noMemory:
		c.reply(replyServerError + outOfMemory)
		return
	case result.outcome == stored && m.has('q'):
		return
	}
	b := append(c.output(), metaCodes[result.outcome]...)
	for f, rest := word(m.flags); len(f) > 0; f, rest = word(rest) {
		switch f[0] {
		case 'O':
			b = append(append(b, ' '), f...)
		case 'k':
			b = appendKey(append(b, " k"...), m.put.key, m.put.binary)
		case 'c':
			b = appendFlag(b, 'c', result.cas)
		case 's':
			b = appendFlag(b, 's', uint64(result.size))
		}
	}
	c.out = append(b, '\r', '\n')
}

// metaDelete answers md.
func (c *conn) metaDelete() {
	m := &c.meta
	q := &m.put
	c.s.keys.delete(q.key)
	p := c.a.lock(q.hash)
	defer p.unlock()
	r := p.find(q.hash, q.key, c.now)
	switch {
	case r == nil:
		p.stats.deleteMisses++
		c.metaReply("NF")
		return
	case m.has('C') && q.compare != r.cas():
		p.stats.deleteMisses++
		c.metaReply("EX")
		return
	}
	if m.has('x') { // an empty item in its place
		empty := *q
		if !empty.hasCAS {
			empty.cas, empty.hasCAS = r.cas(), true
		}
		if p.store(&empty, value{}, r, q.flags, m.newTTL, 0).outcome != stored {
			c.reply(replyServerError + "out of memory")
			return
		}
		_, r = p.search(q.hash, q.key, 0)
	}
	if m.has('I') {
		if m.has('T') {
			r.setExpires(m.newTTL)
		}
		r.set(bitStale)
		r.clear(bitWon) // the next client can win
		if !q.hasCAS {
			q.cas = c.a.nextCAS()
		}
		r.setCAS(q.cas)
	} else {
		p.stats.deleteHits++
		if !m.has('x') {
			c.watchDelete(r, "md")
			p.discard(q.hash, q.key)
		}
	}
	if !m.has('q') {
		c.metaReply("HD")
	}
}

// metaReply answers with a code and what was to be sent back.
func (c *conn) metaReply(code string) {
	c.out = append(c.meta.appendEcho(append(c.output(), code...)), '\r', '\n')
}

// metaArithmetic answers ma.
func (c *conn) metaArithmetic() {
	m := &c.meta
	q := &m.put
	var incr bool
	switch m.mode {
	case 0, 'I', 'i', '+':
		incr = true
	case 'D', 'd', '-':
	default:
		c.reply(replyClientError + "invalid mode for ma M token")
		return
	}
	p := c.a.lock(q.hash)
	defer p.unlock()
	r := p.find(q.hash, q.key, c.now)
	var buf [20]byte
	var text []byte
	outcome := stored
	created := r == nil && m.has('N')
	switch {
	case r != nil:
		text, r, outcome = p.add(r, q, incr, m.delta, buf[:0])
	case created:
		p.stats.sets++
		text = strconv.AppendUint(buf[:0], m.initial, 10)
		outcome = p.store(q, value{data: text, size: len(text)}, nil, 0, 0, 0).outcome
		_, r = p.search(q.hash, q.key, 0)
	default:
		p.missedNumber(incr)
		outcome = notFound
	}
	switch outcome {
	case stored:
	case notNumber:
		c.reply(replyClientError + notANumber)
		return
	case noMemory:
		c.reply(replyServerError + "out of memory")
		return
	default:
		c.metaReply(metaCodes[outcome])
		return
	}
	b := c.output()
	mark := len(b)
	if m.has('v') {
		b = strconv.AppendUint(append(b, "VA "...), uint64(len(text)), 10)
	} else {
		b = append(b, "HD"...)
	}
	for f, rest := word(m.flags); len(f) > 0; f, rest = word(rest) {
		switch f[0] {
		case 'c':
			b = appendFlag(b, 'c', r.cas())
		case 't':
			b = appendTTL(b, r.expires(), c.now)
		case 'T':
			r.setExpires(m.newTTL)
		case 'N':
			if created {
				r.setExpires(m.vivify)
			}
		case 'O':
			b = append(append(b, ' '), f...)
		case 'k':
			b = appendKey(append(b, " k"...), q.key, q.binary)
		}
	}
	b = append(b, '\r', '\n')
	if m.has('v') {
		b = append(append(b, text...), '\r', '\n')
	}
	if m.has('q') {
		b = b[:mark]
	}
	c.out = b
}

// metaDebug answers me: what is known of an item.
func (c *conn) metaDebug() {
	c.s.count.metas.Add(1)
	q := &c.meta.put
	p := c.a.lock(q.hash)
	defer p.unlock()
	r := p.find(q.hash, q.key, c.now)
	if r == nil {
		c.reply("EN")
		return
	}
	b := append(c.output(), "ME "...)
	if r.has(bitBinary) {
		b = base64.StdEncoding.AppendEncode(b, r.key())
	} else {
		b = append(b, r.key()...)
	}
	b = append(b, " exp="...)
	if r.expires() == 0 {
		b = append(b, "-1"...)
	} else {
		b = strconv.AppendUint(b, uint64(r.expires()-c.now), 10)
	}
	b = strconv.AppendUint(append(b, " la="...), uint64(c.now-r.used()), 10)
	b = strconv.AppendUint(append(b, " cas="...), r.cas(), 10)
	fetched := "no"
	if r.has(bitFetched) {
		fetched = "yes"
	}
	b = append(append(b, " fetch="...), fetched...)
	b = strconv.AppendInt(append(b, " cls=1 size="...), int64(cellSize(int(r[2]), r.vlen())), 10)
	c.out = append(b, '\r', '\n')
}
