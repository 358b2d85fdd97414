package cache

import "bytes"

func storageCommands(name []byte) (storeMode, bool) {
	switch string(name) {
	case "set":
		return modeSet, true
	case "add":
		return modeAdd, true
	case "replace":
		return modeReplace, true
	case "append":
		return modeAppend, true
	case "prepend":
		return modePrepend, true
	case "cas":
		return modeCAS, true
	}
	return 0, false
}

// store answers the storage commands. args is
//
//	key flags exptime bytes [cas unique] [noreply]
func (c *conn) store(mode storeMode, args []byte) {
	var q putRequest
	for {
		size, problem := c.parseStore(mode, args, &q)
		switch {
		case size < 0: // we do not know where the next command begins
			c.reply(replyClientError + problem)
			return
		case problem != "":
			c.refuseValue(size, replyClientError+problem)
			return
		case c.w-c.r >= size+2 || len(c.saved) > 0:
			if r, ok := c.storeValue(&q, size); ok {
				c.reply(outcomeText[r.outcome])
			}
			return
		}
		// While the value comes in, the buffer in which args is may be moved.
		c.saved = append(c.saved[:0], args...)
		args = c.saved
	}
}

func (c *conn) parseStore(mode storeMode, args []byte, q *putRequest) (size int, problem string) {
	var w [7][]byte
	n := 0
	for rest := args; n < len(w); n++ {
		if w[n], rest = word(rest); len(w[n]) == 0 {
			break
		}
	}
	c.quiet = n > 4 && string(w[n-1]) == "noreply"
	length, ok := parseUint(w[3], 31)
	if n < 4 || !ok || length > 1<<31-3 {
		return -1, badFormat
	}
	size = int(length)
	flags, ok1 := parseUint(w[1], 32)
	exptime, ok2 := parseInt(w[2])
	if len(w[0]) > maxKeyLen || !ok1 || !ok2 {
		return size, badFormat
	}
	*q = putRequest{
		mode: mode, key: w[0], hash: c.a.hash(w[0]),
		flags: uint32(flags), expires: c.expiry(exptime), now: c.now,
	}
	if mode == modeCAS {
		if q.compare, ok = parseUint(w[4], 64); !ok {
			return size, badFormat
		}
	}
	return size, ""
}

var outcomeText = [...]string{
	stored: replyStored, notStored: replyNotStored, exists: replyExists, notFound: replyNotFound,
	noMemory: replyServerError + outOfMemory,
}

// refuseValue answers a storage command with an error and throws its value
// away.
func (c *conn) refuseValue(size int, line string) {
	c.reply(line)
	c.saved = append(c.saved[:0], line...) // the command is not over
	if c.skip(size+2) != nil {
		c.closing = true
	}
	c.saved = c.saved[:0]
}

// storeValue reads a value and stores it. What q refers to must not be in the
// buffer, unless the value is there, too. If ok is false it has failed, and
// answered.
func (c *conn) storeValue(q *putRequest, size int) (result putResult, ok bool) {
	defer func() { c.saved = c.saved[:0] }()
	c.s.keys.set(q.key)
	if !c.a.fits(len(q.key), size) {
		c.s.count.tooLarge.Add(1)
		c.dropOld(q)
		c.refuseValue(size, replyServerError+tooLarge)
		return result, false
	}
	if size > maxInline {
		return c.storeLarge(q, size)
	}
	if c.need(size+2) != nil {
		c.closing = true
		return result, false
	}
	data := c.in[c.r : c.r+size]
	if !c.endOfValue(size) {
		return result, false
	}
	return c.put(q, value{data: data, size: size}), true
}

func (c *conn) put(q *putRequest, v value) putResult {
	result := c.a.put(q, v)
	c.watchPut(q, result)
	return result
}

// dropOld removes the item that a set should have replaced: the old value must
// not live on, as if the new one had never been.
func (c *conn) dropOld(q *putRequest) {
	if q.mode == modeSet {
		p := c.a.lock(q.hash)
		p.discard(q.hash, q.key)
		p.unlock()
	}
}

// endOfValue checks that the value, of which n bytes are in the buffer, ends as
// it should, and goes on behind it.
func (c *conn) endOfValue(n int) bool {
	end := c.in[c.r+n : c.r+n+2]
	c.r += n + 2
	if string(end) != "\r\n" {
		c.reply(replyClientError + badChunk)
		return false
	}
	return true
}

// storeLarge is storeValue for a value that does not fit in the buffer.
func (c *conn) storeLarge(q *putRequest, size int) (result putResult, ok bool) {
	b := c.a.build(size, c.now)
	defer c.a.unpin(b.number)
	for left := size; left > 0; {
		space := b.space()
		space = space[:min(left, len(space))]
		n := copy(space, c.in[c.r:c.w])
		c.r += n
		if n == 0 {
			err := c.send()
			if err == nil {
				n, err = c.read(space, waitsMore)
			}
			if err != nil {
				c.closing = true
				return result, false
			}
		}
		left -= n
		if !b.filled(n) || left == 0 && !b.finish() {
			c.dropOld(q)
			c.refuseValue(left, replyServerError+outOfMemory)
			return result, false
		}
	}
	if c.need(2) != nil {
		c.closing = true
		return result, false
	}
	if !c.endOfValue(0) {
		return result, false
	}
	return c.put(q, value{number: b.number, size: size}), true
}

// authenticate answers everything until the client has come in: with a set
// whose value is "user password", and whose key does not matter.
func (c *conn) authenticate(line []byte) {
	const longest = 16 << 10
	name, args := word(line)
	var q putRequest
	size, _ := c.parseStore(modeSet, args, &q)
	c.quiet = false
	switch {
	case string(name) != "set" || size < 0:
		c.reply(replyClientError + "unauthenticated")
		return
	case size > longest:
		// Perhaps there is no value at all: what comes is read as commands.
		c.reply(replyClientError + "auth token too long")
		return
	}
	c.saved = append(c.saved[:0], line...) // the command is not over
	err := c.need(size + 2)
	c.saved = c.saved[:0]
	if err != nil {
		c.closing = true
		return
	}
	data := c.in[c.r : c.r+size]
	if !c.endOfValue(size) {
		return
	}
	user, password, ok := bytes.Cut(data, []byte(" "))
	c.s.count.authentications.Add(1)
	if !ok || !c.s.Authenticate(string(user), string(password)) {
		c.s.count.authErrors.Add(1)
		c.reply(replyClientError + "authentication failure")
		return
	}
	c.authenticated = true
	c.reply(replyStored)
}
