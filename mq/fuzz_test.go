package mq

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/nacl/box"
)

// FuzzHandshake lets a peer say anything to each mechanism, as client and as
// server. What one accepts is a peer that it may talk to.
func FuzzHandshake(f *testing.F) {
	key := CurveKey{1}
	mechanisms := []Mechanism{
		nil,
		&PlainServer{Users: map[string]string{"u": "p"}}, &PlainClient{"u", "p"},
		&CurveServer{SecretKey: key}, &CurveClient{ServerKey: key.Public()},
	}
	rep := string(appendProperty(nil, "Socket-Type", []byte("REP")))
	f.Add(byte(0), join(greeting("NULL"), ready("Socket-Type", "REP")))
	f.Add(byte(1), join(greeting("PLAIN"), command(cmdHello, "\x01u\x01p"), command(cmdInitiate, rep)))
	f.Add(byte(2), join(greeting("PLAIN"), command(cmdWelcome, ""), command(cmdReady, rep)))
	hello := (&curveClient{client: mechanisms[4].(*CurveClient)}).open()
	f.Add(byte(3), join(greeting("CURVE"), appendFrame(nil, flagCommand, hello)))
	welcome, err := (&curveServer{server: mechanisms[3].(*CurveServer)}).reply(hello)
	require.NoError(f, err)
	f.Add(byte(4), join(greeting("CURVE"), appendFrame(nil, flagCommand, welcome)))
	f.Add(byte(0), join(greeting("NULL"), appendFrame(nil, flagCommand, appendErrorCommand(nil, "no"))))
	f.Add(byte(0), join(greeting("NULL"), appendHeader(nil, flagCommand, 1<<62)))
	f.Fuzz(func(t *testing.T, which byte, says []byte) {
		m := mechanisms[int(which)%len(mechanisms)]
		for _, me := range []local{{typ: REQ}, {typ: DEALER, accepted: true}} {
			conn := &talk{Reader: bytes.NewReader(says)}
			p, _, err := handshake(conn, m, me)
			if err == nil {
				assert.True(t, me.typ.talksTo(p.typ))
				assert.LessOrEqual(t, len(p.identity), 255)
			}
			assert.LessOrEqual(t, conn.said.Len(), 1024)
		}
	})
}

// FuzzInitiate lets a client that knows the protocol put anything into the
// boxes that the server opens.
func FuzzInitiate(f *testing.F) {
	f.Add(local{typ: REQ}.metadata(nil))
	f.Add([]byte("\x0bSocket-Type\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, metadata []byte) {
		server := &CurveServer{SecretKey: CurveKey{1}}
		client := &CurveClient{ServerKey: server.SecretKey.Public()}
		c := &curveClient{client: client, me: local{typ: REQ}}
		s := &curveServer{server: server, me: local{typ: REP, accepted: true}}
		welcome, err := s.reply(c.open())
		require.NoError(t, err)
		initiate, err := c.reply(welcome)
		require.NoError(t, err)

		head := len(initiate) - box.Overhead - keySize - vouchSize - len(c.me.metadata(nil))
		nonce := countNonce("CurveZMQINITIATE", 2)
		plain, ok := box.OpenAfterPrecomputation(nil, initiate[head:], &nonce, &c.boxes.key)
		require.True(t, ok)
		plain = append(plain[:keySize+vouchSize], metadata...)
		initiate = box.SealAfterPrecomputation(initiate[:head], plain, &nonce, &c.boxes.key)
		if _, err = s.reply(initiate); err == nil {
			assert.True(t, REP.talksTo(s.them.typ))
		}
	})
}

// FuzzCommand reads commands and metadata; what can be read is what it was
// made of.
func FuzzCommand(f *testing.F) {
	f.Add(appendPing(nil, 1e9, []byte("context")))
	f.Add([]byte("\x09SUBSCRIBEtopic"))
	f.Add(local{typ: DEALER, identity: []byte("id")}.metadata(appendCommand(nil, cmdReady)))
	f.Add([]byte("\x05ERROR\x03400"))
	f.Fuzz(func(t *testing.T, body []byte) {
		name, data, err := parseCommand(body)
		if err != nil {
			return
		}
		assert.Equal(t, body, append(appendCommand(nil, string(name)), data...))
		if ttl, context, err := parsePing(data); err == nil {
			assert.Equal(t, append([]byte("\x04PING"), data...), appendPing(nil, ttl, context))
		}
		properties, err := parseProperties(data)
		if err != nil {
			return
		}
		var again []byte
		for name, value := range properties {
			again = appendProperty(again, name, []byte(value))
		}
		assert.Len(t, again, len(data))
	})
}

// FuzzMessage opens anything as a MESSAGE of CURVE, with the right key.
func FuzzMessage(f *testing.F) {
	c, s := CurveKey{1}, CurveKey{2}
	cn, sn := c.Public(), s.Public()
	client, server := newCurveBoxes(&sn, &c, false), newCurveBoxes(&cn, &s, true)
	frame := client.seal(nil, flagMore, []byte("text"))
	f.Add(frame[2:])
	f.Add([]byte("\x07MESSAGE"))
	f.Fuzz(func(t *testing.T, body []byte) {
		again := *server
		_, _, err := again.open(bytes.Clone(body))
		assert.Equal(t, bytes.Equal(body, frame[2:]), err == nil, "only what we have sealed opens")
	})
}

// FuzzTraffic reads what a peer may send after the handshake, at once and byte
// by byte: the messages are the same, and within the limits.
func FuzzTraffic(f *testing.F) {
	f.Add(join(message("one"), message("two", "", "frames"), command(cmdPing, "00")))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x02hi"))
	f.Add(appendHeader(nil, flagLong, 1<<62))
	f.Add(bytes.Repeat([]byte{flagMore, 0}, 100))
	f.Fuzz(func(t *testing.T, wire []byte) {
		read := func(src io.Reader) (log []string, err error) {
			d := &decoder{src: src, maxFrame: 300, maxSize: 1000}
			d.command = func(body []byte) error {
				log = append(log, fmt.Sprintf("command %q", body))
				_, _, err := parseCommand(body)
				return err
			}
			for err == nil {
				var batch []Msg
				batch, err = d.read(10)
				for _, m := range batch {
					size := 0
					for _, frame := range m {
						size += 32 + len(frame)
						assert.LessOrEqual(t, len(frame), 300)
					}
					assert.LessOrEqual(t, size, 1000)
					log = append(log, m.String())
				}
			}
			return log, err
		}
		atOnce, err1 := read(bytes.NewReader(wire))
		byByte, err2 := read(oneByte{bytes.NewReader(wire)})
		assert.ElementsMatch(t, atOnce, byByte) // commands may overtake messages of a batch
		assert.Equal(t, err1, err2)
	})
}

// FuzzZ85 reads keys.
func FuzzZ85(f *testing.F) {
	f.Add("HelloWorld")
	f.Add("#####")
	f.Fuzz(func(t *testing.T, text string) {
		if data, err := appendFromZ85(nil, text); err == nil {
			assert.Equal(t, text, string(appendZ85(nil, data)))
		}
	})
}
