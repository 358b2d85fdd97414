package mq

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// A CurveKey is a key of the mechanism CURVE, public or secret.
type CurveKey [32]byte

// NewCurveKey returns a new secret key.
func NewCurveKey() CurveKey {
	var k CurveKey
	rand.Read(k[:]) // it never fails
	return k
}

// ParseCurveKey reads a key from its text, 40 characters of Z85 ([RFC 32]).
//
// [RFC 32]: https://rfc.zeromq.org/spec/32/
func ParseCurveKey(text string) (CurveKey, error) {
	k, err := appendFromZ85(nil, text)
	if err != nil || len(k) != len(CurveKey{}) {
		return CurveKey{}, errors.New("mq: a CURVE key is 40 characters of Z85")
	}
	return CurveKey(k), nil
}

// Public returns the public key that belongs to the secret key k.
func (k CurveKey) Public() CurveKey {
	var public [32]byte
	curve25519.ScalarBaseMult(&public, (*[32]byte)(&k))
	return public
}

// String returns the text of the key. Do not print secret ones.
func (k CurveKey) String() string { return string(appendZ85(nil, k[:])) }

// A CurveServer is the server of the mechanism CURVE ([RFC 26]): everything is
// encrypted, the client knows whom it talks to, and the server too if it wants.
//
// [RFC 26]: https://rfc.zeromq.org/spec/26/
type CurveServer struct {
	SecretKey CurveKey // whose public key the clients know

	// Admit decides about a client by its public key; nil admits all. It is
	// called by the goroutine of the connection, several at a time, while the
	// handshake's clock runs.
	Admit func(client CurveKey) bool
}

// A CurveClient is the client of the mechanism CURVE.
type CurveClient struct {
	ServerKey CurveKey // the public key of the server
	SecretKey CurveKey // zero: a new one for each connection, for servers that admit all
}

func (*CurveServer) name() string              { return "CURVE" }
func (*CurveServer) server() bool              { return true }
func (m *CurveServer) begin(me local) dialogue { return &curveServer{server: m, me: me} }

func (m *CurveServer) check() error {
	if m.SecretKey == (CurveKey{}) {
		return errors.New("mq: CurveServer without a SecretKey")
	}
	return nil
}

func (*CurveClient) name() string              { return "CURVE" }
func (*CurveClient) server() bool              { return false }
func (m *CurveClient) begin(me local) dialogue { return &curveClient{client: m, me: me} }

func (m *CurveClient) check() error {
	if m.ServerKey == (CurveKey{}) {
		return errors.New("mq: CurveClient without a ServerKey")
	}
	return nil
}

// The sizes of RFC 26. A box is longer by its authenticator than what is in it.
const (
	keySize     = 32
	shortNonce  = 8  // a counter
	longNonce   = 16 // random
	cookieSize  = longNonce + secretbox.Overhead + 2*keySize
	vouchSize   = longNonce + box.Overhead + 2*keySize
	helloPad    = 72 // so that HELLO is longer than WELCOME: no amplification
	helloSize   = 2 + helloPad + keySize + shortNonce + box.Overhead + 64
	welcomeSize = longNonce + box.Overhead + keySize + cookieSize
	minInitiate = cookieSize + shortNonce + box.Overhead + keySize + vouchSize
	minReady    = shortNonce + box.Overhead
)

// countNonce makes the nonce of a prefix of 16 bytes and a counter.
func countNonce(prefix string, n uint64) (nonce [24]byte) {
	copy(nonce[:], prefix)
	binary.BigEndian.PutUint64(nonce[16:], n)
	return nonce
}

// randomNonce makes the nonce of a prefix of 8 bytes and 16 random ones.
func randomNonce(prefix string) (nonce [24]byte) {
	copy(nonce[:], prefix)
	rand.Read(nonce[8:])
	return nonce
}

// wireNonce makes the nonce of a prefix and what the peer has sent.
func wireNonce(prefix string, sent []byte) (nonce [24]byte) {
	copy(nonce[copy(nonce[:], prefix):], sent)
	return nonce
}

// array is what package box wants.
func (k *CurveKey) array() *[32]byte { return (*[32]byte)(k) }

// curveClient is the client's side: HELLO, WELCOME, INITIATE, READY. The names
// of the keys are those of RFC 26: C and S last, C' and S' (here Cn, Sn) are
// made for this connection; the secret keys are in small letters.
type curveClient struct {
	client *CurveClient
	me     local
	cn, sn CurveKey // c', the client's secret; S', the server's public key
	them   *peerInfo
	boxes  *curveBoxes
}

func (d *curveClient) result() (*peerInfo, cipher) {
	if d.them == nil {
		return nil, nil
	}
	return d.them, d.boxes
}

func (d *curveClient) open() []byte {
	d.cn = NewCurveKey()
	public := d.cn.Public()
	hello := append(appendCommand(nil, cmdHello), 1, 0) // version 1.0
	hello = append(hello, make([]byte, helloPad)...)
	hello = append(hello, public[:]...)
	nonce := countNonce("CurveZMQHELLO---", 1)
	hello = append(hello, nonce[16:]...)
	return box.Seal(hello, make([]byte, 64), &nonce, d.client.ServerKey.array(), d.cn.array())
}

func (d *curveClient) reply(command []byte) ([]byte, error) {
	if d.boxes == nil {
		return d.initiate(command)
	}
	data, err := expect(command, cmdReady)
	if err != nil {
		return nil, err
	}
	if len(data) < minReady {
		return nil, protocolError("READY of CURVE with %d bytes", len(data))
	}
	nonce := wireNonce("CurveZMQREADY---", data[:shortNonce])
	metadata, ok := box.OpenAfterPrecomputation(nil, data[shortNonce:], &nonce, &d.boxes.key)
	if !ok {
		return nil, protocolError("READY does not open")
	}
	d.boxes.in.count = binary.BigEndian.Uint64(data)
	d.them, _, err = d.me.meet(metadata) // only the server may say ERROR
	return nil, err
}

// initiate hears WELCOME and says INITIATE.
func (d *curveClient) initiate(command []byte) ([]byte, error) {
	data, err := expect(command, cmdWelcome)
	if err != nil {
		return nil, err
	}
	if len(data) != welcomeSize {
		return nil, protocolError("WELCOME of CURVE with %d bytes", len(data))
	}
	nonce := wireNonce("WELCOME-", data[:longNonce])
	plain, ok := box.Open(nil, data[longNonce:], &nonce, d.client.ServerKey.array(), d.cn.array())
	if !ok {
		return nil, protocolError("WELCOME does not open: the server has another key")
	}
	d.sn = CurveKey(plain[:keySize])
	cookie := plain[keySize:]

	secret := d.client.SecretKey
	if secret == (CurveKey{}) {
		secret = NewCurveKey()
	}
	cn, c := d.cn.Public(), secret.Public()
	nonce = randomNonce("VOUCH---")
	vouch := append([]byte(nil), nonce[8:]...)
	vouch = box.Seal(vouch, append(cn[:], d.client.ServerKey[:]...), &nonce, d.sn.array(), secret.array())

	d.boxes = newCurveBoxes(&d.sn, &d.cn, false)
	initiate := append(appendCommand(nil, cmdInitiate), cookie...)
	nonce = countNonce("CurveZMQINITIATE", 2)
	initiate = append(initiate, nonce[16:]...)
	d.boxes.out.count = 2
	plain = d.me.metadata(append(append([]byte(nil), c[:]...), vouch...))
	return box.SealAfterPrecomputation(initiate, plain, &nonce, &d.boxes.key), nil
}

// curveServer is the server's side. Between WELCOME and INITIATE it knows
// neither key of the connection: they are in the cookie, which the client
// brings back, locked with a key of which nobody but this dialogue has a copy.
type curveServer struct {
	server  *CurveServer
	me      local
	cookie  CurveKey // zero before HELLO and after INITIATE
	greeted bool
	nonce   uint64 // of HELLO
	them    *peerInfo
	boxes   *curveBoxes
}

func (d *curveServer) open() []byte { return nil }

func (d *curveServer) result() (*peerInfo, cipher) {
	if d.them == nil {
		return nil, nil
	}
	return d.them, d.boxes
}

func (d *curveServer) reply(command []byte) ([]byte, error) {
	if d.greeted {
		return d.ready(command)
	}
	d.greeted = true
	return d.welcome(command)
}

// welcome hears HELLO and says WELCOME.
func (d *curveServer) welcome(command []byte) ([]byte, error) {
	data, err := expect(command, cmdHello)
	if err != nil {
		return nil, err
	}
	if len(data) != helloSize || data[0] != 1 || data[1] != 0 {
		return nil, protocolError("malformed HELLO of CURVE")
	}
	data = data[2+helloPad:]
	cn := CurveKey(data[:keySize])
	d.nonce = binary.BigEndian.Uint64(data[keySize:])
	nonce := countNonce("CurveZMQHELLO---", d.nonce)
	zeros, ok := box.Open(nil, data[keySize+shortNonce:], &nonce, cn.array(), d.server.SecretKey.array())
	if !ok || subtle.ConstantTimeCompare(zeros, make([]byte, 64)) == 0 {
		return nil, protocolError("HELLO does not open: the client has another key of ours")
	}

	sn := NewCurveKey()
	d.cookie = NewCurveKey()
	nonce = randomNonce("COOKIE--")
	public := sn.Public()
	plain := append(public[:], nonce[8:]...)
	plain = secretbox.Seal(plain, append(cn[:], sn[:]...), &nonce, d.cookie.array())
	nonce = randomNonce("WELCOME-")
	welcome := append(appendCommand(nil, cmdWelcome), nonce[8:]...)
	return box.Seal(welcome, plain, &nonce, cn.array(), d.server.SecretKey.array()), nil
}

// ready hears INITIATE and says READY.
func (d *curveServer) ready(command []byte) ([]byte, error) {
	data, err := expect(command, cmdInitiate)
	if err != nil {
		return nil, err
	}
	if len(data) < minInitiate {
		return nil, protocolError("INITIATE of CURVE with %d bytes", len(data))
	}
	nonce := wireNonce("COOKIE--", data[:longNonce])
	keys, ok := secretbox.Open(nil, data[longNonce:cookieSize], &nonce, d.cookie.array())
	d.cookie = CurveKey{}
	if !ok {
		return nil, protocolError("the cookie of INITIATE is not ours")
	}
	cn, sn := CurveKey(keys[:keySize]), CurveKey(keys[keySize:])

	data = data[cookieSize:]
	d.boxes = newCurveBoxes(&cn, &sn, true)
	d.boxes.in.count = binary.BigEndian.Uint64(data)
	nonce = wireNonce("CurveZMQINITIATE", data[:shortNonce])
	plain, ok := box.OpenAfterPrecomputation(nil, data[shortNonce:], &nonce, &d.boxes.key)
	if !ok || d.boxes.in.count <= d.nonce {
		return nil, protocolError("INITIATE does not open")
	}
	c := CurveKey(plain[:keySize])
	vouch, metadata := plain[keySize:keySize+vouchSize], plain[keySize+vouchSize:]
	nonce = wireNonce("VOUCH---", vouch[:longNonce])
	vouched, ok := box.Open(nil, vouch[longNonce:], &nonce, c.array(), sn.array())
	public := d.server.SecretKey.Public()
	if !ok || subtle.ConstantTimeCompare(vouched, append(cn[:], public[:]...)) == 0 {
		return nil, protocolError("the client does not vouch for its key")
	}
	if d.server.Admit != nil && !d.server.Admit(c) {
		return appendErrorCommand(nil, reasonAuth), &AuthError{Mechanism: d.server.name(), User: c.String()}
	}
	them, reason, err := d.me.meet(metadata)
	if err != nil {
		return appendErrorCommand(nil, reason), err
	}
	them.user = c.String()
	d.them = them

	nonce = countNonce("CurveZMQREADY---", 1)
	d.boxes.out.count = 1
	ready := append(appendCommand(nil, cmdReady), nonce[16:]...)
	return box.SealAfterPrecomputation(ready, d.me.metadata(nil), &nonce, &d.boxes.key), nil
}
