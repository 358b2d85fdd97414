package cache

import (
	"encoding/base64"
	"strconv"
)

// A metaRequest is a meta command: two letters, the key, and flags of one
// letter, some with a token behind it. What the flags ask for is answered in the
// order in which they came.
type metaRequest struct {
	flags []byte // as they came
	seen  uint64 // which ones, by letter

	put      putRequest // key, times, cas uniques
	mode     byte       // M
	newTTL   uint32     // T, as Unix seconds
	vivify   uint32     // N, likewise
	recache  uint32     // R, likewise
	delta    uint64     // D
	initial  uint64     // J
	keyBytes [maxKeyLen]byte
}

const (
	maxMetaFlags = 18
	maxOpaque    = 32 // with its letter
)

func flagBit(letter byte) uint64 { return 1 << (letter - 'A') }

func (m *metaRequest) has(letter byte) bool { return m.seen&flagBit(letter) != 0 }

// parseMeta reads the key and the flags of a meta command. It returns what is
// wrong with them, or nothing.
func (c *conn) parseMeta(key, flags []byte) (problem string) {
	m := &c.meta
	m.flags, m.seen, m.mode = flags, 0, 0
	m.newTTL, m.vivify, m.recache = 0, 0, 0
	m.delta, m.initial = 1, 0
	m.put = putRequest{key: key, now: c.now}
	if len(key) > maxKeyLen {
		return badFormat
	}
	count := 0
	for f, rest := word(flags); len(f) > 0; f, rest = word(rest) {
		if count++; count > maxMetaFlags {
			return "options flags are too long"
		}
		letter, token := f[0], f[1:]
		switch {
		case letter < 'A' || letter > 'z':
			return "invalid flag"
		case m.has(letter):
			return "duplicate flag"
		}
		m.seen |= flagBit(letter)
		ok := true
		switch letter {
		case 'b':
			n, err := base64.StdEncoding.Decode(m.keyBytes[:], key)
			if err != nil || n == 0 {
				problem = "error decoding key"
				continue
			}
			m.put.key, m.put.binary = m.keyBytes[:n], true
		case 'N':
			m.vivify, ok = c.parseExpiry(token)
		case 'T':
			m.newTTL, ok = c.parseExpiry(token)
		case 'R':
			m.recache, ok = c.parseExpiry(token)
		case 'C':
			m.put.compare, ok = parseUint(token, 64)
		case 'E':
			m.put.cas, ok = parseUint(token, 64)
			m.put.hasCAS = ok
		case 'F':
			var n uint64
			if n, ok = parseUint(token, 32); !ok {
				problem = badFormat
				continue
			}
			m.put.flags = uint32(n)
		case 'M':
			if len(token) > 0 {
				m.mode = token[0]
			} else {
				m.mode = ' '
			}
		case 'J':
			if m.initial, ok = parseUint(token, 64); !ok {
				problem = "invalid numeric initial value"
				continue
			}
		case 'D':
			if m.delta, ok = parseUint(token, 64); !ok {
				problem = "invalid numeric delta value"
				continue
			}
		case 'O':
			if len(f) > maxOpaque {
				problem = "opaque token too long"
			}
		case 'I', 'L', 'P', 'c', 'f', 'h', 'k', 'l', 'q', 's', 't', 'u', 'v', 'x':
		default:
			return "invalid flag"
		}
		if !ok {
			problem = "bad token in command line format"
		}
	}
	m.put.hash = c.a.hash(m.put.key)
	return problem
}

func (c *conn) parseExpiry(token []byte) (uint32, bool) {
	n, ok := parseInt(token)
	return c.expiry(n), ok
}

// appendKey appends the flag k: the key as the client would send it.
func appendKey(b, key []byte, binary bool) []byte {
	if !binary {
		return append(b, key...)
	}
	return append(base64.StdEncoding.AppendEncode(b, key), " b"...)
}

// appendEcho appends the answer to the flags O and k.
func (m *metaRequest) appendEcho(b []byte) []byte {
	if !m.has('O') && !m.has('k') {
		return b
	}
	for f, rest := word(m.flags); len(f) > 0; f, rest = word(rest) {
		switch f[0] {
		case 'O':
			b = append(append(b, ' '), f...)
		case 'k':
			b = appendKey(append(b, " k"...), m.put.key, m.put.binary)
		}
	}
	return b
}

func appendFlag(b []byte, letter byte, n uint64) []byte {
	return strconv.AppendUint(append(b, ' ', letter), n, 10)
}

// appendTTL appends the flag t: how many seconds are left.
func appendTTL(b []byte, expires, now uint32) []byte {
	if expires == 0 {
		return append(b, " t-1"...)
	}
	return appendFlag(b, 't', uint64(max(expires, now)-now))
}
