package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// A protection is what is done to a message so that the receiver can notice a
// change, or so that nobody else can read it. Its number stands first in each
// message; which one is used both ends have agreed on beforehand, for whoever
// is on the way could change the number too.
type protection byte

const (
	none      protection = iota
	checksum             // CRC-32: anybody can compute it
	hash                 // SHA-256 without a key: anybody can compute it
	keyed                // HMAC-SHA-256: whoever has the shared key
	signature            // Ed25519: only who has the private key
	stream               // AES-256-CTR: secret, but every bit can be flipped
	sealed               // AES-256-GCM: secret, and no bit can
)

// names of the protections, as -protect takes them.
var names = []string{"none", "checksum", "hash", "hmac", "signature", "cipher", "aead"}

func (p protection) String() string {
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("protection %d", byte(p))
}

// parse returns the protection called name, which is one of names.
func parse(name string) protection { return protection(slices.Index(names, name)) }

// The header of a message: protection, kind, and its number from 1, big-endian.
const (
	headerSize = 6
	kindText   = 0
	kindEnd    = 1 // nothing comes after it
)

const (
	challengeSize = 16
	nonceSize     = 12 // of GCM (NIST SP 800-38D section 8.2.2: random ones are 96 bits)
)

// purpose stands before everything that is authenticated, so that a MAC or a
// signature made for this protocol means nothing in another one.
const purpose = "zocalo tamper 1\x00"

// keys are what an end knows that others do not.
type keys struct {
	mac, stream, aead []byte             // made from the shared key
	private           ed25519.PrivateKey // the sender's alone
	public            ed25519.PublicKey  // known to everybody
}

// derive makes a key for each purpose out of the shared one (RFC 5869): one key
// in two algorithms could let one of them betray the other.
func (k *keys) derive(shared []byte) (err error) {
	for _, d := range []struct {
		to  *[]byte
		use string
	}{{&k.mac, "hmac"}, {&k.stream, "cipher"}, {&k.aead, "aead"}} {
		if *d.to, err = hkdf.Key(sha256.New, shared, nil, purpose+d.use, 32); err != nil {
			return err
		}
	}
	return nil
}

var (
	errForged = errors.New("the message is not what the sender sent")
	errShort  = errors.New("the message is too short")
	errKey    = errors.New("the key for it is missing")
)

// need says what to do about a missing key.
func (k *keys) need(p protection, sending bool) error {
	if p == signature && (sending && k.private == nil || !sending && k.public == nil) || (p == keyed || p == stream || p == sealed) && k.mac == nil {
		return fmt.Errorf("%v: %w", p, errKey)
	}
	return nil
}

func header(p protection, kind byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(p), kind}, number)
}

// seal returns the whole message: the header and what p makes of text. The
// challenge, chosen by the receiver for this connection, goes into what is
// authenticated: a recording of an earlier connection is worth nothing.
func seal(p protection, k *keys, challenge, head, text []byte) ([]byte, error) {
	if err := k.need(p, true); err != nil {
		return nil, err
	}
	msg := append(slices.Clone(head), text...)
	switch p {
	case none:
		return msg, nil
	case checksum:
		return binary.BigEndian.AppendUint32(msg, crc32.ChecksumIEEE(msg)), nil
	case hash:
		sum := sha256.Sum256(msg)
		return append(msg, sum[:]...), nil
	case keyed:
		return append(msg, k.tag(challenge, msg)...), nil
	case signature:
		return append(msg, ed25519.Sign(k.private, signed(challenge, msg))...), nil
	case stream:
		iv := make([]byte, aes.BlockSize)
		rand.Read(iv) // never fails (crypto/rand)
		block, err := aes.NewCipher(k.stream)
		if err != nil {
			return nil, err
		}
		out := append(slices.Clone(head), iv...)
		out = append(out, text...)
		cipher.NewCTR(block, iv).XORKeyStream(out[headerSize+aes.BlockSize:], text)
		return out, nil
	case sealed:
		gcm, err := k.gcm()
		if err != nil {
			return nil, err
		}
		nonce := make([]byte, nonceSize)
		rand.Read(nonce)
		out := append(slices.Clone(head), nonce...)
		return gcm.Seal(out, nonce, text, signed(challenge, head)), nil
	}
	return nil, fmt.Errorf("no protection %d", p)
}

// open undoes seal: it returns the header's kind and number, and the text, if
// p finds nothing wrong. It decides by p alone how to look at the message: a
// message that says it is protected in another way is refused.
func open(p protection, k *keys, challenge, msg []byte) (kind byte, number uint32, text []byte, err error) {
	if err := k.need(p, false); err != nil {
		return 0, 0, nil, err
	}
	if len(msg) < headerSize+overhead(p) {
		return 0, 0, nil, fmt.Errorf("%w: %d bytes, %d at least", errShort, len(msg), headerSize+overhead(p))
	}
	if got := protection(msg[0]); got != p {
		return 0, 0, nil, fmt.Errorf("%w: it says %v, agreed is %v", errForged, got, p)
	}
	kind, number = msg[1], binary.BigEndian.Uint32(msg[2:])
	if kind > kindEnd {
		return 0, 0, nil, fmt.Errorf("%w: no kind %d", errForged, kind)
	}
	tail := len(msg) - overhead(p) // where a check that follows the text begins
	fits := true
	switch p {
	case none:
		text = msg[headerSize:]
	case checksum:
		text, fits = msg[headerSize:tail], crc32.ChecksumIEEE(msg[:tail]) == binary.BigEndian.Uint32(msg[tail:])
	case hash:
		sum := sha256.Sum256(msg[:tail])
		text, fits = msg[headerSize:tail], bytes.Equal(sum[:], msg[tail:])
	case keyed:
		// In constant time: or the time would tell an attacker how many bytes
		// of a guess are right.
		text, fits = msg[headerSize:tail], hmac.Equal(k.tag(challenge, msg[:tail]), msg[tail:])
	case signature:
		text, fits = msg[headerSize:tail], ed25519.Verify(k.public, signed(challenge, msg[:tail]), msg[tail:])
	case stream:
		block, err := aes.NewCipher(k.stream)
		if err != nil {
			return 0, 0, nil, err
		}
		body := msg[headerSize:]
		text = make([]byte, len(body)-aes.BlockSize)
		cipher.NewCTR(block, body[:aes.BlockSize]).XORKeyStream(text, body[aes.BlockSize:])
	case sealed:
		gcm, err := k.gcm()
		if err != nil {
			return 0, 0, nil, err
		}
		body := msg[headerSize:]
		text, err = gcm.Open(nil, body[:nonceSize], body[nonceSize:], signed(challenge, msg[:headerSize]))
		fits = err == nil
	default:
		return 0, 0, nil, fmt.Errorf("no protection %d", p)
	}
	if !fits {
		return 0, 0, nil, fmt.Errorf("%w: the %s does not fit", errForged, map[protection]string{
			checksum: "checksum", hash: "hash", keyed: "HMAC", signature: "signature", sealed: "tag of AES-GCM",
		}[p])
	}
	return kind, number, text, nil
}

// overhead is how many bytes p adds to a message.
func overhead(p protection) int {
	switch p {
	case checksum:
		return crc32.Size
	case hash, keyed:
		return sha256.Size
	case signature:
		return ed25519.SignatureSize
	case stream:
		return aes.BlockSize
	case sealed:
		return nonceSize + 16
	}
	return 0
}

// signed is what a MAC or a signature is computed of. The parts before the
// message have fixed lengths, or two different rows of parts could give the
// same bytes.
func signed(challenge, msg []byte) []byte {
	return slices.Concat([]byte(purpose), challenge, msg)
}

func (k *keys) tag(challenge, msg []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(signed(challenge, msg))
	return h.Sum(nil)
}

func (k *keys) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.aead)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
