package mq

import (
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/nacl/box"
	//lint:ignore SA1019 secretbox is made of it, and has no way to do a box in place
	"golang.org/x/crypto/poly1305"
	//lint:ignore SA1019 as above
	"golang.org/x/crypto/salsa20/salsa"
)

// The flags inside a box. RFC 26 knows MORE only; every implementation says
// with the next bit that the frame is a command.
const (
	boxMore    = 1
	boxCommand = 2
)

// messageHead is how many bytes of a MESSAGE stand before what is encrypted:
// name, counter, authenticator. They are as many as the bytes that the key of
// the authenticator takes from the key stream, so one overwrites the other.
const messageHead = 1 + len(cmdMessage) + shortNonce + box.Overhead

// curveBoxes puts frames into MESSAGE commands and takes them out.
type curveBoxes struct {
	key [32]byte // what Precompute made of the two keys of the connection
	out boxStream
	in  boxStream
}

func newCurveBoxes(theirs, ours *CurveKey, server bool) *curveBoxes {
	b := &curveBoxes{}
	box.Precompute(&b.key, theirs.array(), ours.array())
	client, srv := "CurveZMQMESSAGEC", "CurveZMQMESSAGES"
	if server {
		client, srv = srv, client
	}
	b.out.init(client, &b.key)
	b.in.init(srv, &b.key)
	return b
}

// seal makes a MESSAGE of a frame. RFC 37 wants that to be a command; libzmq,
// and so everybody, sends a message frame, and drops what comes as a command.
func (b *curveBoxes) seal(dst []byte, flags byte, body []byte) []byte {
	inner := flags & flagMore
	if flags&flagCommand != 0 {
		inner |= boxCommand
	}
	size := messageHead + 1 + len(body)
	dst = appendHeader(slices.Grow(dst, 9+size), 0, size)
	start := len(dst)
	dst = appendCommand(dst, cmdMessage)
	b.out.count++
	dst = binary.BigEndian.AppendUint64(dst, b.out.count)
	dst = append(dst[:start+messageHead], inner)
	dst = append(dst, body...)
	crypted := dst[start+messageHead:]

	var first [streamStep]byte
	b.out.first(&first, b.out.count, len(crypted))
	b.out.crypt(crypted, &first, b.out.count)
	var tag [poly1305.TagSize]byte
	poly1305.Sum(&tag, crypted, (*[32]byte)(first[:32]))
	copy(dst[start+messageHead-len(tag):], tag[:])
	return dst
}

// open takes the frame out of a MESSAGE. Counters must grow: nothing can be
// played again.
func (b *curveBoxes) open(body []byte) (flags byte, plain []byte, err error) {
	name := 1 + len(cmdMessage)
	if len(body) <= messageHead || body[0] != byte(len(cmdMessage)) || string(body[1:name]) != cmdMessage {
		return 0, nil, protocolError("a frame of %d bytes where MESSAGE was due", len(body))
	}
	count := binary.BigEndian.Uint64(body[name:])
	if count <= b.in.count {
		return 0, nil, protocolError("nonce %d of MESSAGE comes after %d", count, b.in.count)
	}
	plain = body[messageHead:]
	var first [streamStep]byte
	b.in.first(&first, count, len(plain))
	if !poly1305.Verify((*[poly1305.TagSize]byte)(body[name+shortNonce:]), plain, (*[32]byte)(first[:32])) {
		return 0, nil, protocolError("MESSAGE does not open")
	}
	b.in.count = count
	b.in.crypt(plain, &first, count)
	if plain[0]&^(boxMore|boxCommand) != 0 {
		return 0, nil, protocolError("flags %#x in a MESSAGE", plain[0])
	}
	flags = plain[0] & boxMore
	if plain[0]&boxCommand != 0 {
		flags |= flagCommand
	}
	return flags, plain[1:], nil
}

// A boxStream is one direction's key stream. It makes the boxes of nacl/box,
// but in place, with what is equal in all nonces of a connection done once, and
// with the key stream taken in steps of four blocks, because four are hardly
// dearer than one.
type boxStream struct {
	key   [32]byte // for what is the same in all nonces: their first 16 bytes
	count uint64   // the rest of the last nonce
}

// streamStep is how many bytes of key stream are made at a time, 64 a block.
const streamStep = 4 * 64

func (s *boxStream) init(prefix string, key *[32]byte) {
	salsa.HSalsa20(&s.key, (*[16]byte)([]byte(prefix)), key, &salsa.Sigma)
}

// counter is the state of the cipher at a block of the message with this nonce.
func counter(nonce, block uint64) (c [16]byte) {
	binary.BigEndian.PutUint64(c[:], nonce)
	binary.LittleEndian.PutUint64(c[8:], block)
	return c
}

// first makes as much of the key stream's first step as n bytes need, for
// which its first 32 bytes are the key of the authenticator.
func (s *boxStream) first(stream *[streamStep]byte, nonce uint64, n int) {
	k := len(stream)
	if 32+n <= 64 {
		k = 64
	}
	c := counter(nonce, 0)
	salsa.XORKeyStream(stream[:k], stream[:k], &c, &s.key)
}

// crypt encrypts p, or decrypts it.
func (s *boxStream) crypt(p []byte, first *[streamStep]byte, nonce uint64) {
	n := subtle.XORBytes(p, p, first[32:])
	p = p[n:]
	whole := len(p) / streamStep * streamStep
	c := counter(nonce, 4)
	salsa.XORKeyStream(p[:whole], p[:whole], &c, &s.key)
	if p = p[whole:]; len(p) > 0 {
		var last [streamStep]byte
		c = counter(nonce, uint64(4+whole/64))
		salsa.XORKeyStream(last[:], last[:], &c, &s.key)
		subtle.XORBytes(p, p, last[:])
	}
}
