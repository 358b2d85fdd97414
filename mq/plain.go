package mq

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// A PlainServer is the server of the mechanism PLAIN ([RFC 24]): it admits
// clients by user name and password. These pass in clear text: use it over
// TLS, or against mistakes rather than attackers.
//
// [RFC 24]: https://rfc.zeromq.org/spec/24/
type PlainServer struct {
	// Users has the password of each user. They are compared in constant time.
	Users map[string]string

	// Check decides instead, if it is not nil. It is called by the goroutine
	// of the connection, several at a time, while the handshake's clock runs.
	Check func(username, password string) bool
}

// A PlainClient is the client of the mechanism PLAIN.
type PlainClient struct {
	Username, Password string // at most 255 bytes each
}

func (*PlainServer) name() string              { return "PLAIN" }
func (*PlainServer) server() bool              { return true }
func (*PlainServer) check() error              { return nil }
func (m *PlainServer) begin(me local) dialogue { return &plainServer{server: m, me: me} }

func (*PlainClient) name() string              { return "PLAIN" }
func (*PlainClient) server() bool              { return false }
func (m *PlainClient) begin(me local) dialogue { return &plainClient{client: m, me: me} }

func (m *PlainClient) check() error {
	if len(m.Username) > 255 || len(m.Password) > 255 {
		return errors.New("mq: PLAIN user name or password of more than 255 bytes")
	}
	return nil
}

func (m *PlainServer) admits(username, password string) bool {
	if m.Check != nil {
		return m.Check(username, password)
	}
	want, known := m.Users[username]
	// Digests have one length, whatever the passwords have.
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && known
}

// plainClient says HELLO, hears WELCOME, says INITIATE, hears READY.
type plainClient struct {
	client  *PlainClient
	me      local
	welcome bool
	them    *peerInfo
}

func (d *plainClient) result() (*peerInfo, cipher) { return d.them, nil }

func (d *plainClient) open() []byte {
	hello := append(appendCommand(nil, cmdHello), byte(len(d.client.Username)))
	hello = append(append(hello, d.client.Username...), byte(len(d.client.Password)))
	return append(hello, d.client.Password...)
}

func (d *plainClient) reply(command []byte) ([]byte, error) {
	if !d.welcome {
		data, err := expect(command, cmdWelcome)
		if err == nil && len(data) > 0 {
			err = protocolError("WELCOME of PLAIN with %d bytes", len(data))
		}
		if err != nil {
			return nil, err
		}
		d.welcome = true
		return d.me.metadata(appendCommand(nil, cmdInitiate)), nil
	}
	data, err := expect(command, cmdReady)
	if err != nil {
		return nil, err
	}
	d.them, _, err = d.me.meet(data) // only the server may say ERROR
	return nil, err
}

// plainServer hears HELLO, says WELCOME, hears INITIATE, says READY.
type plainServer struct {
	server   *PlainServer
	me       local
	admitted bool
	user     string
	them     *peerInfo
}

func (d *plainServer) result() (*peerInfo, cipher) { return d.them, nil }
func (d *plainServer) open() []byte                { return nil }

func (d *plainServer) reply(command []byte) ([]byte, error) {
	if !d.admitted {
		data, err := expect(command, cmdHello)
		if err != nil {
			return nil, err
		}
		user, data, ok1 := cutString(data)
		password, data, ok2 := cutString(data)
		if !ok1 || !ok2 || len(data) > 0 {
			return nil, protocolError("malformed HELLO of PLAIN")
		}
		if !d.server.admits(user, password) {
			return appendErrorCommand(nil, reasonAuth), &AuthError{Mechanism: d.server.name(), User: user}
		}
		d.admitted, d.user = true, user
		return appendCommand(nil, cmdWelcome), nil
	}
	data, err := expect(command, cmdInitiate)
	if err != nil {
		return nil, err
	}
	them, reason, err := d.me.meet(data)
	if err != nil {
		return appendErrorCommand(nil, reason), err
	}
	them.user = d.user
	d.them = them
	return d.me.metadata(appendCommand(nil, cmdReady)), nil
}

// cutString takes a string off the start of data: one byte of length, then as
// many bytes.
func cutString(data []byte) (s string, rest []byte, ok bool) {
	if len(data) == 0 || len(data)-1 < int(data[0]) {
		return "", nil, false
	}
	return string(data[1 : 1+int(data[0])]), data[1+int(data[0]):], true
}
