package main

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
)

// attacks, as -attack takes them.
var attacks = []string{"none", "noise", "forge", "replay", "drop", "cut"}

// An attacker changes messages on their way. It knows the protocol, as one has
// to assume (Kerckhoffs), and no key.
type attacker struct {
	attack   string
	on       int        // which message, from 1
	old, new string     // forge: what to put in whose place
	known    string     // forge: the text of the message, known or guessed, for where it cannot be read
	dice     *rand.Rand // noise: which bit

	seen  int    // messages so far
	shift uint32 // to be added to the numbers of those that follow
	cut   bool   // nothing passes any more
}

// change returns what is sent in place of msg: nothing, one message or several,
// and what was done, in words.
func (a *attacker) change(msg []byte) (out [][]byte, done string) {
	if len(msg) < headerSize {
		return [][]byte{msg}, ""
	}
	if a.cut {
		return nil, "swallowed"
	}
	a.seen++
	msg = slices.Clone(msg)
	if a.shift != 0 {
		renumber(msg, a.shift)
	}
	if a.seen != a.on {
		return [][]byte{msg}, ""
	}
	p := protection(msg[0])
	switch a.attack {
	case "noise":
		first, last := textAt(p, msg)
		if first == last {
			return [][]byte{msg}, "there is no bit to flip"
		}
		at := first + a.dice.IntN(last-first)
		bit := a.dice.IntN(8)
		msg[at] ^= 1 << bit // an accident: whatever check there is stays as it was
		return [][]byte{msg}, fmt.Sprintf("bit %d of byte %d flipped", bit, at)
	case "forge":
		return a.forge(p, msg)
	case "replay":
		again := slices.Clone(msg)
		renumber(again, 1)
		a.shift++
		return [][]byte{msg, again}, "sent twice, the numbers adapted"
	case "drop":
		a.shift-- // modulo 2³²
		return nil, "swallowed, the numbers adapted"
	case "cut":
		a.cut = true
		end := header(p, kindEnd, binary.BigEndian.Uint32(msg[2:])+1)
		end = append(end, make([]byte, overhead(p))...) // all that can be done about a check with a key
		repair(end)
		return [][]byte{msg, end}, "an end added, what follows will be swallowed"
	}
	return [][]byte{msg}, ""
}

// forge changes the text to what the attacker likes.
func (a *attacker) forge(p protection, msg []byte) (out [][]byte, done string) {
	first, last := textAt(p, msg)
	if p != stream && p != sealed {
		text := msg[first:last]
		if !bytes.Contains(text, []byte(a.old)) {
			return [][]byte{msg}, fmt.Sprintf("no %q in it", a.old)
		}
		changed := slices.Concat(msg[:first], bytes.Replace(text, []byte(a.old), []byte(a.new), 1), msg[last:])
		done = fmt.Sprintf("%q made %q", a.old, a.new)
		if repair(changed) {
			done += ", the " + p.String() + " computed anew"
		} else if p != none {
			done += fmt.Sprintf(", the %v as it was: we have no key", p)
		}
		return [][]byte{changed}, done
	}
	// Encrypted: the text is a guess. A bit flipped in the cipher text of a
	// stream cipher flips that bit of the plain text: c ⊕ old ⊕ new deciphers
	// to new where it was old, without the key.
	at := bytes.Index([]byte(a.known), []byte(a.old))
	if at < 0 || len(a.old) != len(a.new) || first+at+len(a.old) > last {
		return [][]byte{msg}, "we do not know where to change it"
	}
	for i := range len(a.old) {
		msg[first+at+i] ^= a.old[i] ^ a.new[i]
	}
	return [][]byte{msg}, fmt.Sprintf("%q made %q without having read it: bytes %d to %d xor % x", a.old, a.new, first+at, first+at+len(a.old)-1, xor(a.old, a.new))
}

func xor(a, b string) []byte {
	out := make([]byte, len(a))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// renumber adds to a message's number, and mends what check can be mended.
func renumber(msg []byte, by uint32) {
	binary.BigEndian.PutUint32(msg[2:], binary.BigEndian.Uint32(msg[2:])+by)
	repair(msg)
}

// repair computes the check of a changed message, if no key is needed for that.
func repair(msg []byte) bool {
	p := protection(msg[0])
	tail := len(msg) - overhead(p)
	if tail < headerSize {
		return false
	}
	switch p {
	case checksum:
		binary.BigEndian.PutUint32(msg[tail:], crc32.ChecksumIEEE(msg[:tail]))
	case hash:
		sum := sha256.Sum256(msg[:tail])
		copy(msg[tail:], sum[:])
	default:
		return false
	}
	return true
}

// textAt says where in a message its text stands, readable or not.
func textAt(p protection, msg []byte) (first, last int) {
	first, last = headerSize, len(msg)-overhead(p)
	switch p {
	case stream:
		first, last = headerSize+aes.BlockSize, len(msg)
	case sealed:
		first, last = headerSize+nonceSize, len(msg)-16
	}
	if last < first {
		return first, first
	}
	return first, last
}

// readable is what a listener reads of a message.
func readable(msg []byte) string {
	if len(msg) < headerSize {
		return fmt.Sprintf("%d bytes", len(msg))
	}
	p := protection(msg[0])
	first, last := textAt(p, msg)
	if last > len(msg) || first > last || first > len(msg) {
		return fmt.Sprintf("%d bytes", len(msg))
	}
	text := msg[first:last]
	switch {
	case msg[1] == kindEnd:
		return "the end"
	case p == stream || p == sealed:
		return fmt.Sprintf("%d secret bytes, %s", len(text), brief(text, "% x"))
	}
	return brief(text, "%q")
}

// brief prints the beginning of long texts only.
func brief(text []byte, format string) string {
	const most = 60
	if len(text) > most {
		return fmt.Sprintf(format+"…", text[:most])
	}
	return fmt.Sprintf(format, text)
}
