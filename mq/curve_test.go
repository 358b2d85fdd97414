package mq

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/nacl/box"
)

// The example of RFC 32, and the keys that the manual of libzmq prints.
func TestZ85(t *testing.T) {
	data := []byte("\x86\x4f\xd2\x6f\xb5\x59\xf7\x5b")
	assert.Equal(t, "HelloWorld", string(appendZ85(nil, data)))
	back, err := appendFromZ85(nil, "HelloWorld")
	require.NoError(t, err)
	assert.Equal(t, data, back)
	for _, bad := range []string{"Hell", "Hello ", "Hell\"", "%nSc1", "#####", "Hellö"} {
		_, err := appendFromZ85(nil, bad)
		assert.Error(t, err, "%q", bad)
	}

	public, err := ParseCurveKey("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID")
	require.NoError(t, err)
	secret, err := ParseCurveKey("D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs")
	require.NoError(t, err)
	assert.Equal(t, public, secret.Public())
	assert.Equal(t, "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs", secret.String())
	_, err = ParseCurveKey("HelloWorld")
	assert.Error(t, err)
}

// boxes returns the two ends' boxes of a connection.
func boxes() (client, server *curveBoxes) {
	c, s := NewCurveKey(), NewCurveKey()
	cn, sn := c.Public(), s.Public()
	return newCurveBoxes(&sn, &c, false), newCurveBoxes(&cn, &s, true)
}

// sizes are those around the steps of the key stream.
var sizes = []int{0, 1, 30, 31, 32, 33, 100, 222, 223, 224, 225, 255, 256, 479, 480, 481, 735, 736, 737, 5000, 100_000}

// Our boxes are those of nacl/box, byte for byte, in both directions.
func TestBoxesAreNaCl(t *testing.T) {
	client, server := boxes()
	random := rand.NewChaCha8([32]byte{})
	for i, size := range sizes {
		body := make([]byte, size)
		random.Read(body)
		for _, tt := range []struct {
			from, to *curveBoxes
			prefix   string
		}{{client, server, "CurveZMQMESSAGEC"}, {server, client, "CurveZMQMESSAGES"}} {
			frame := tt.from.seal([]byte("before"), flagMore, body)
			message := frame[len(frame)-messageHead-1-size:]
			assert.Equal(t, appendHeader([]byte("before"), 0, len(message)), frame[:len(frame)-len(message)])

			nonce := countNonce(tt.prefix, uint64(i+1))
			want := append([]byte("\x07MESSAGE"), nonce[16:]...)
			want = box.SealAfterPrecomputation(want, append([]byte{boxMore}, body...), &nonce, &tt.from.key)
			require.Equal(t, want, message, "%d bytes", size)

			flags, plain, err := tt.to.open(message)
			require.NoError(t, err)
			require.Equal(t, body, plain)
			assert.EqualValues(t, flagMore, flags)
		}
	}
}

func TestBoxesRefuse(t *testing.T) {
	client, server := boxes()
	message := func(flags byte, body string) []byte { return client.seal(nil, flags, []byte(body))[2:] }
	first, second := message(0, "one"), message(flagCommand, "two")

	flags, plain, err := server.open(bytes.Clone(second))
	require.NoError(t, err)
	assert.EqualValues(t, flagCommand, flags)
	assert.Equal(t, "two", string(plain))
	for name, bad := range map[string][]byte{
		"played again":    second,
		"out of order":    first,
		"no MESSAGE":      []byte("\x05READY"),
		"empty":           nil,
		"too short":       message(0, "")[:messageHead],
		"a changed byte":  withByte(message(0, "three"), messageHead, 'x'),
		"a changed tag":   withByte(message(0, "three"), messageHead-1, 'x'),
		"a changed nonce": withByte(message(0, "three"), 9, 1),
		"unknown flags":   sealed(client, 4, "x"),
	} {
		_, _, err := server.open(bad)
		bad := new(ProtocolError)
		assert.ErrorAs(t, err, &bad, name)
	}
	_, plain, err = server.open(message(0, "four")) // what was refused changed nothing
	require.NoError(t, err)
	assert.Equal(t, "four", string(plain))
}

// sealed makes a MESSAGE with any flags inside.
func sealed(b *curveBoxes, flags byte, body string) []byte {
	b.out.count++
	nonce := countNonce("CurveZMQMESSAGEC", b.out.count)
	message := append([]byte("\x07MESSAGE"), nonce[16:]...)
	return box.SealAfterPrecomputation(message, append([]byte{flags}, body...), &nonce, &b.key)
}

// The boxes work on from the nonces of the handshake, both ways.
func TestBoxesAfterHandshake(t *testing.T) {
	server := &CurveServer{SecretKey: NewCurveKey()}
	c, s := shake(t, &CurveClient{ServerKey: server.SecretKey.Public()}, server, dealer, router)
	require.NoError(t, c.err)
	require.NoError(t, s.err)
	for range 3 {
		_, plain, err := s.cipher.open(c.cipher.seal(nil, 0, []byte("to the server"))[2:])
		require.NoError(t, err)
		assert.Equal(t, "to the server", string(plain))
		_, plain, err = c.cipher.open(s.cipher.seal(nil, 0, []byte("to the client"))[2:])
		require.NoError(t, err)
		assert.Equal(t, "to the client", string(plain))
	}
}

// flipper changes one bit of what passes.
type flipper struct {
	io.ReadWriter
	at int // which byte that is written
}

func (f *flipper) Write(p []byte) (int, error) {
	if f.at >= 0 && f.at < len(p) {
		p = bytes.Clone(p)
		p[f.at] ^= 1
	}
	f.at -= len(p)
	return f.ReadWriter.Write(p)
}

// No byte of a CURVE handshake may be changed without it failing, but for the
// padding and filler of the greeting, which mean nothing, and the version. To
// save time every third is tried.
func TestBytesOfCurveCount(t *testing.T) {
	server := &CurveServer{SecretKey: NewCurveKey()}
	client := &CurveClient{ServerKey: server.SecretKey.Public()}
	play := func(t *testing.T, fromClient, fromServer int) (err error) {
		synctest.Test(t, func(t *testing.T) {
			a, b := streams(t)
			a.SetDeadline(time.Now().Add(time.Second)) // a length may have grown
			b.SetDeadline(time.Now().Add(time.Second))
			done := make(chan error, 1)
			go func() {
				_, _, err := handshake(&flipper{b, fromServer}, server, router)
				b.Close()
				done <- err
			}()
			_, _, err = handshake(&flipper{a, fromClient}, client, dealer)
			a.Close()
			if other := <-done; err == nil {
				err = other
			}
		})
		return err
	}
	require.NoError(t, play(t, -1, -1))
	const hello, welcome = 2 + 6 + helloSize, 2 + 8 + welcomeSize
	ignored := greetingSize + 2 + 6 + 2 // the padding of HELLO follows
	for at := greetingMechanism; at < greetingSize+hello+50; at += 3 {
		if at >= greetingServer && at < greetingSize || at >= ignored && at < ignored+helloPad {
			continue
		}
		require.Error(t, play(t, at, -1), "byte %d of the client", at)
	}
	for at := greetingSize; at < greetingSize+welcome+50; at += 3 {
		require.Error(t, play(t, -1, at), "byte %d of the server", at)
	}
}

func BenchmarkCurve(b *testing.B) {
	for _, size := range []int{10, 100, 1024} {
		body := make([]byte, size)
		b.Run(fmt.Sprintf("seal/%d", size), func(b *testing.B) {
			client, _ := boxes()
			var frame []byte
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				frame = client.seal(frame[:0], 0, body)
			}
		})
		b.Run(fmt.Sprintf("open/%d", size), func(b *testing.B) {
			client, server := boxes()
			frame := client.seal(nil, 0, body)
			message := frame[len(frame)-messageHead-1-size:]
			again := bytes.Clone(message)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				server.in.count = 0
				copy(again, message)
				if _, _, err := server.open(again); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
