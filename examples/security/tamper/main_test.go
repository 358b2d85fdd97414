package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

// keyDir makes a directory of keys.
func keyDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	got := clitest.Run(t, "", "keys", "-dir", dir)
	require.Equal(t, 0, got.Status, got.Stderr)
	return dir
}

// someKeys are all the keys of one sender and receiver.
func someKeys(t testing.TB) *keys {
	t.Helper()
	dir := keyDir(t)
	k := new(keys)
	for _, file := range []string{sharedFile, privateFile, publicFile} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, k.parse(file, data))
	}
	return k
}

func all() (list []protection) {
	for p := range protection(len(names)) {
		list = append(list, p)
	}
	return list
}

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server", "-keys", keyDir(t)}, []string{"server", "-protect", "none"}, []string{"relay", "-to", "127.0.0.1:9"})
}

// What the table says is what the course teaches, whichever bit is flipped.
func TestTable(t *testing.T) {
	k := someKeys(t)
	for _, p := range all() {
		for _, attack := range attacks {
			for seed := range uint64(5) {
				want := "FOOLED"
				switch {
				case attack == "none":
					want = "passed"
				case p == keyed || p == signature || p == sealed:
					want = "noticed"
				case attack == "noise" && (p == checksum || p == hash):
					want = "noticed"
				}
				got, err := try(t.Context(), p, k, attack, seed)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s against %v, seed %d", attack, p, seed)
			}
		}
	}
	got := clitest.Run(t, "", "table", "-seed", "7")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 17, strings.Count(got.Stdout, "noticed"), got.Stdout)
	require.Equal(t, 18, strings.Count(got.Stdout, "FOOLED"), got.Stdout)
}

// Every single bit of a message counts, but for the protections that see nothing.
func TestEveryBit(t *testing.T) {
	k := someKeys(t)
	challenge := bytes.Repeat([]byte{7}, challengeSize)
	text := []byte("pay 20 euros to luis")
	for _, p := range all() {
		msg, err := seal(p, k, challenge, header(p, kindText, 1), text)
		require.NoError(t, err)
		require.Len(t, msg, headerSize+len(text)+overhead(p))
		kind, number, got, err := open(p, k, challenge, msg)
		require.NoError(t, err)
		require.EqualValues(t, kindText, kind)
		require.EqualValues(t, 1, number)
		require.Equal(t, text, got)
		for i := range len(msg) * 8 {
			changed := slices.Clone(msg)
			changed[i/8] ^= 1 << (i % 8)
			_, _, got, err := open(p, k, challenge, changed)
			if p == none || p == stream {
				if err == nil && i/8 >= headerSize+overhead(p) {
					require.NotEqual(t, text, got, "bit %d", i)
				}
				continue
			}
			require.ErrorIs(t, err, errForged, "%v, bit %d", p, i)
			require.Nil(t, got, "nothing of it may be used")
		}
		for n := range msg {
			_, _, _, err := open(p, k, challenge, msg[:n])
			if n < headerSize+overhead(p) {
				require.ErrorIs(t, err, errShort)
			} else if p != none && p != stream {
				require.ErrorIs(t, err, errForged)
			}
		}
	}
}

// A message of another connection, under another key or another protection, is
// worth nothing.
func TestWrongContext(t *testing.T) {
	k, others := someKeys(t), someKeys(t)
	challenge, another := make([]byte, challengeSize), bytes.Repeat([]byte{1}, challengeSize)
	for _, p := range []protection{keyed, signature, sealed} {
		msg, err := seal(p, k, challenge, header(p, kindText, 1), []byte("hola"))
		require.NoError(t, err)
		_, _, _, err = open(p, k, another, msg)
		require.ErrorIs(t, err, errForged, "%v: recorded in another connection", p)
		_, _, _, err = open(p, others, challenge, msg)
		require.ErrorIs(t, err, errForged, "%v: another key", p)
	}
	for _, p := range all() {
		for _, q := range all() {
			if p == q {
				continue
			}
			// Downgrade: a message that claims a weaker protection than agreed.
			msg, err := seal(q, k, challenge, header(q, kindText, 1), make([]byte, 100))
			require.NoError(t, err)
			_, _, _, err = open(p, k, challenge, msg)
			require.ErrorIs(t, err, errForged)
		}
	}
	require.NotEqual(t, k.mac, k.aead)
	require.NotEqual(t, k.mac, k.stream)
}

func TestMissingKeys(t *testing.T) {
	nothing, k := new(keys), someKeys(t)
	for _, p := range []protection{keyed, signature, stream, sealed} {
		_, err := seal(p, nothing, nil, header(p, kindText, 1), nil)
		require.ErrorIs(t, err, errKey)
		_, _, _, err = open(p, nothing, nil, make([]byte, 200))
		require.ErrorIs(t, err, errKey)
	}
	// A receiver can check a signature and cannot make one.
	_, err := seal(signature, &keys{public: k.public}, nil, header(signature, kindText, 1), nil)
	require.ErrorIs(t, err, errKey)
	// Encrypting the same text twice gives nothing in common.
	for _, p := range []protection{stream, sealed} {
		a, err := seal(p, k, nil, header(p, kindText, 1), make([]byte, 64))
		require.NoError(t, err)
		b, err := seal(p, k, nil, header(p, kindText, 1), make([]byte, 64))
		require.NoError(t, err)
		require.NotEqual(t, a[headerSize:headerSize+12], b[headerSize:headerSize+12])
		require.NotEqual(t, a[len(a)-32:], b[len(b)-32:])
	}
}

// Over the network: who receives what, for each protection, when nobody and
// when somebody stands between.
func TestNetwork(t *testing.T) {
	dir := keyDir(t)
	const lines = "pay 20 euros to luis\n¡hola!\n\n"
	for _, p := range all() {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			flags := []string{"-protect", p.String(), "-keys", dir}
			srv := clitest.Start(t, append([]string{"server", "-port", "0"}, flags...)...)
			got := clitest.Run(t, lines, append([]string{"client", "-port", srv.Port()}, flags...)...)
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, "the other side says \"all accepted\"\n")
			said := srv.Stdout.WaitFor(t, "the end, as the sender set it")
			require.Contains(t, said, "1 accepted: \"pay 20 euros to luis\"\n2 accepted: \"¡hola!\"\n3 accepted: \"\"\n")

			relay := clitest.Start(t, "relay", "-port", "0", "-to", srv.Addr, "-attack", "forge")
			got = clitest.Run(t, lines, append([]string{"client", "-port", relay.Port()}, flags...)...)
			if p == keyed || p == signature || p == sealed {
				require.Equal(t, 1, got.Status)
				require.Equal(t, "tamper: "+relay.Addr+" says \"refused\"\n", got.Stderr)
				srv.Stdout.WaitFor(t, "REFUSED: message 1: the message is not what the sender sent")
				require.NotContains(t, srv.Stdout.String(), "evan")
			} else {
				require.Equal(t, 0, got.Status, got.Stderr)
				srv.Stdout.WaitFor(t, `1 accepted: "pay 20 euros to evan"`)
			}
			said = relay.Stdout.WaitFor(t, "1 ")
			require.Equal(t, p != stream && p != sealed, strings.Contains(said, "1 \"pay 20"), said)

			// And the server goes on.
			got = clitest.Run(t, lines, append([]string{"client", "-port", srv.Port()}, flags...)...)
			require.Equal(t, 0, got.Status, got.Stderr)
		})
	}
}

// A relay that does nothing changes nothing; a later message is another one.
func TestRelayFlags(t *testing.T) {
	dir := keyDir(t)
	srv := clitest.Start(t, "server", "-port", "0", "-protect", "cipher", "-keys", dir)
	play := func(flags ...string) {
		t.Helper()
		relay := clitest.Start(t, append([]string{"relay", "-port", "0", "-to", srv.Addr}, flags...)...)
		got := clitest.Run(t, "one\nthe code is 1234\nthree\n", "client", "-protect", "cipher", "-keys", dir, "-port", relay.Port())
		require.Equal(t, 0, got.Status, got.Stderr)
	}
	play("-attack", "none")
	srv.Stdout.WaitFor(t, `2 accepted: "the code is 1234"`)
	play("-attack", "forge", "-on", "2", "-known", "the code is 1234", "-old", "1234", "-new", "6666")
	srv.Stdout.WaitFor(t, `2 accepted: "the code is 6666"`)
	play("-attack", "forge", "-on", "1", "-known", "two", "-old", "1234", "-new", "6666") // a wrong guess
	require.Equal(t, 1, strings.Count(srv.Stdout.String(), "6666"))
}

// Bad bytes: the server tells one line and goes on.
func TestHostileClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-keys", keyDir(t), "-idle", "300ms")
	for _, test := range []struct{ bytes, says string }{
		{"", "cut off after 0 messages"},
		{"\x00\x00\x00\x00", "REFUSED: message 1: the message is too short: 0 bytes"},
		{"\x00\x00\x00\x06\x00\x00\x00\x00\x00\x01", "the message is too short: 6 bytes"},
		{"\xff\xff\xff\xff", "4294967295 bytes"},
		{"\x00\x00\x00\x30" + strings.Repeat("\x06", 48), "no kind 6"},
		{"\x00\x00\x00\x30\x06\x00" + strings.Repeat("\x01", 46), "the tag of AES-GCM does not fit"},
	} {
		conn, err := net.Dial("tcp", srv.Addr)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
		_, err = io.WriteString(conn, test.bytes)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.True(t, bytes.HasSuffix(answer, []byte("\x00\x00\x00\x07refused")), "%q", answer)
		conn.Close()
		srv.Stdout.WaitFor(t, test.says)
	}
	silent, err := net.Dial("tcp", srv.Addr)
	require.NoError(t, err)
	defer silent.Close()
	srv.Stdout.WaitFor(t, "REFUSED: framing: receive")
}

func TestServerThatIsNone(t *testing.T) {
	for _, greeting := range []string{"", "\x00\x00\x00\x03abc", "\xff\xff\xff\xff"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			if conn, err := ln.Accept(); err == nil {
				io.WriteString(conn, greeting)
				conn.Close()
			}
		})
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		got := clitest.Run(t, "", "client", "-port", port, "-protect", "none", "-text", "hola")
		require.Equal(t, 1, got.Status)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		wg.Wait()
		ln.Close()
	}
}

func TestUsage(t *testing.T) {
	dir := keyDir(t)
	for _, args := range [][]string{
		{"keys"},
		{"server"},
		{"server", "-protect", "rot13"},
		{"client", "-port", "1"},
		{"client", "-port", "1", "-protect", "none", "-text", strings.Repeat("x", maxText+1)},
		{"client", "-keys", dir},
		{"relay", "-to", "nowhere"},
		{"relay", "-to", "127.0.0.1:9", "-old", ""},
		{"relay", "-to", "127.0.0.1:9", "-attack", "bribe"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	for _, args := range [][]string{
		{"server", "-keys", t.TempDir()},
		{"keys", "-dir", dir}, // never overwritten
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%v", args)
	}
	// Each key file in the place of another.
	for _, files := range [][2]string{{sharedFile, publicFile}, {publicFile, sharedFile}, {privateFile, sharedFile}, {publicFile, privateFile}} {
		data, err := os.ReadFile(filepath.Join(dir, files[0]))
		require.NoError(t, err)
		require.Error(t, new(keys).parse(files[1], data), "%v", files)
		require.Error(t, new(keys).parse(files[1], nil))
		require.Error(t, new(keys).parse(files[1], data[:len(data)/2]))
	}
}

// A receiver takes so many messages and no more.
func TestTooManyMessages(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c := framing.NewConn(there, nil, config(clitest.Limit))
		defer c.Close()
		transmit(t.Context(), c, none, new(keys), func(yield func(string, error) bool) {
			for yield("x", nil) {
			}
		}, func(uint32, string, []byte) {})
	})
	c := framing.NewConn(here, nil, config(clitest.Limit))
	count := 0
	err := accept(t.Context(), c, none, new(keys), func(uint32, []byte) { count++ })
	c.Close()
	require.EqualError(t, err, fmt.Sprintf("more than %d messages", maxMessages))
	require.Equal(t, maxMessages, count)
}

func TestTransmitStops(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("enough")
	cancel(stopped)
	_, err := transmit(ctx, framing.NewConn(here, nil, nil), none, new(keys), nil, nil)
	require.ErrorIs(t, err, stopped)
}

// openssl computes the same HMAC, accepts the signature and the key files, and
// flips the same bit.
func TestOpenSSL(t *testing.T) {
	openssl := interop.Program(t, "openssl", "openssl")
	ask := func(stdin []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.Output()
		require.NoError(t, err, "%v", args)
		return out
	}
	dir := keyDir(t)
	k := new(keys)
	for _, file := range []string{sharedFile, privateFile, publicFile} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, k.parse(file, data))
	}
	require.Contains(t, string(ask(nil, "pkey", "-in", filepath.Join(dir, privateFile), "-noout", "-text")), "ED25519 Private-Key")
	challenge := bytes.Repeat([]byte{9}, challengeSize)
	text := []byte("pay 20 euros to luis")

	msg, err := seal(keyed, k, challenge, header(keyed, kindText, 1), text)
	require.NoError(t, err)
	body, tag := msg[:len(msg)-32], msg[len(msg)-32:]
	require.Equal(t, tag, ask(signed(challenge, body), "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(k.mac), "-binary"))

	msg, err = seal(signature, k, challenge, header(signature, kindText, 1), text)
	require.NoError(t, err)
	signedFile, signatureFile := filepath.Join(dir, "signed"), filepath.Join(dir, "signature")
	require.NoError(t, os.WriteFile(signedFile, signed(challenge, msg[:len(msg)-64]), 0o600))
	require.NoError(t, os.WriteFile(signatureFile, msg[len(msg)-64:], 0o600))
	require.Contains(t, string(ask(nil, "pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(dir, publicFile), "-rawin", "-in", signedFile, "-sigfile", signatureFile)), "Verified Successfully")

	msg, err = seal(stream, k, challenge, header(stream, kindText, 1), text)
	require.NoError(t, err)
	decrypt := func(msg []byte) string {
		return string(ask(msg[headerSize+16:], "enc", "-d", "-aes-256-ctr", "-K", hex.EncodeToString(k.stream), "-iv", hex.EncodeToString(msg[headerSize:headerSize+16])))
	}
	require.Equal(t, string(text), decrypt(msg))
	a := &attacker{attack: "forge", on: 1, old: "luis", new: "evan", known: string(text)}
	out, _ := a.change(msg)
	require.Equal(t, "pay 20 euros to evan", decrypt(out[0]))
}

// FuzzOpen: no bytes make a receiver panic, and none pass a check with a key
// that was not given away.
func FuzzOpen(f *testing.F) {
	k := someKeys(f)
	challenge := make([]byte, challengeSize)
	for _, p := range all() {
		msg, err := seal(p, k, challenge, header(p, kindText, 1), []byte("hola"))
		require.NoError(f, err)
		f.Add(msg)
		f.Add(msg[:len(msg)-1])
	}
	others := someKeys(f)
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, p := range all() {
			kind, number, text, err := open(p, others, challenge, msg)
			if err != nil {
				require.Nil(t, text)
				continue
			}
			require.NotContains(t, []protection{keyed, signature, sealed}, p)
			require.Len(t, text, len(msg)-headerSize-overhead(p))
			if p != stream {
				again, err := seal(p, others, challenge, header(p, kind, number), text)
				require.NoError(t, err)
				require.Equal(t, msg, again)
			}
		}
	})
}

// FuzzChange: the attacker copes with whatever comes by.
func FuzzChange(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x01luis"), 2, uint64(1))
	f.Add([]byte("\x05\x00\x00\x00\x00\x01luis"), 2, uint64(1))
	f.Add([]byte("\xff\x00\x00\x00\x00\x01"), 1, uint64(1))
	f.Add([]byte("\x04"), 5, uint64(1))
	f.Fuzz(func(t *testing.T, msg []byte, attack int, seed uint64) {
		a := &attacker{
			attack: attacks[uint(attack)%uint(len(attacks))], on: 1, old: "luis", new: "evan",
			known: "pay 20 euros to luis", dice: dice(seed),
		}
		before := slices.Clone(msg)
		readable(msg)
		for range 3 {
			out, _ := a.change(msg)
			require.LessOrEqual(t, len(out), 2)
		}
		require.Equal(t, before, msg, "the original is left as it was")
	})
}
