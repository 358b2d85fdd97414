package tlsx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// An Identity is what a server or client proves itself with: a chain and its
// key, fixed, or kept in files that may change while the program runs. It
// must not be copied; many goroutines may use it.
type Identity struct {
	// Certificate is a fixed chain with its key. If it is nil, ChainFile and
	// KeyFile name the files, and Passphrase opens the key if it is encrypted.
	Certificate        *tls.Certificate
	ChainFile, KeyFile string
	Passphrase         string
	// Interval is how long files are trusted to be as they were: each look at
	// them is that much later than the last. 0 means one second.
	Interval time.Duration

	// OnReload is told after each new reading of changed files, with the error
	// if it failed; the old certificate stays in use then. nil means nobody.
	OnReload func(error)

	mu      sync.Mutex
	current *tls.Certificate
	state   [2]fileState // of the files when current was read
	looked  time.Time
}

// A fileState tells whether a file has changed.
type fileState struct {
	size int64
	mod  time.Time
	info os.FileInfo // of the file itself, which a rename replaces
}

func (s fileState) same(o fileState) bool {
	return s.size == o.size && s.mod.Equal(o.mod) && s.info != nil && o.info != nil && os.SameFile(s.info, o.info)
}

func stat(name string) (fileState, error) {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Size(), info.ModTime(), info}, nil
}

// Get returns the certificate. If it is kept in files it looks, at most once in
// every Interval, whether they have changed. An error means that there has
// never been a certificate to use.
func (id *Identity) Get() (*tls.Certificate, error) {
	if id.Certificate != nil {
		return id.Certificate, nil
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	interval := id.Interval
	if interval == 0 {
		interval = time.Second
	}
	if id.current != nil && time.Since(id.looked) < interval {
		return id.current, nil
	}
	state, err := id.look()
	if id.current != nil && (err != nil || state[0].same(id.state[0]) && state[1].same(id.state[1])) {
		return id.current, nil // unchanged, or in the midst of being changed
	}
	if err == nil {
		err = id.read(state)
	}
	if err != nil && id.current == nil {
		return nil, err
	}
	return id.current, nil
}

// Reload reads the files again now, whether they have changed or not. If that
// fails the old certificate stays in use.
func (id *Identity) Reload() error {
	if id.Certificate != nil {
		return nil
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	state, err := id.look()
	if err != nil {
		return err
	}
	return id.read(state)
}

// look reads the state of both files.
func (id *Identity) look() (state [2]fileState, err error) {
	id.looked = time.Now()
	for i, name := range []string{id.ChainFile, id.KeyFile} {
		if state[i], err = stat(name); err != nil {
			return state, fmt.Errorf("tlsx: identity: %w", err)
		}
	}
	return state, nil
}

// read takes over what the files hold. They are replaced one after the other,
// so for a moment they may not fit: then the state is not kept, and the next
// look reads them again.
func (id *Identity) read(state [2]fileState) error {
	cert, err := LoadCertificate(id.ChainFile, id.KeyFile, id.Passphrase)
	if err == nil {
		id.current, id.state = cert, state
	}
	if id.OnReload != nil {
		id.OnReload(err)
	}
	return err
}

// Versions and times by default.
const (
	minVersion       = tls.VersionTLS12
	handshakeTimeout = 10 * time.Second
)

// checkVersions refuses what RFC 8996 has put out of use.
func checkVersions(low, high uint16) (uint16, error) {
	if low == 0 {
		low = minVersion
	}
	switch {
	case low < minVersion || high != 0 && high < minVersion:
		return 0, fmt.Errorf("tlsx: config: TLS before 1.2 is out of use (RFC 8996)")
	case high != 0 && high < low:
		return 0, fmt.Errorf("tlsx: config: the versions from %s to %s are none", tls.VersionName(low), tls.VersionName(high))
	}
	return low, nil
}

// A Server says how the side that accepts connections proves itself, and what
// it demands of clients. Fields must not change after the first use.
type Server struct {
	// Identities are the certificates. The first that is good for the name that
	// the client asks for (SNI) and that it can verify is used; the first of all
	// if none is.
	Identities []*Identity

	// ClientCAs are the authorities of clients. Unless it is nil, every client
	// needs a certificate from one of them; with ClientOptional, those that
	// send one do.
	ClientCAs      []*x509.Certificate
	ClientOptional bool

	// MinVersion and MaxVersion are versions such as tls.VersionTLS13; 0 means
	// TLS 1.2 and the newest there is.
	MinVersion, MaxVersion uint16

	// NextProtos are the application protocols (ALPN), best first; nil means
	// that none is negotiated.
	NextProtos []string

	// CRLs is asked in every handshake for the lists of revoked clients (see
	// [VerifyOptions]), so that they can be renewed while the server runs; nil
	// means that revocation is not looked at.
	CRLs func() []*x509.RevocationList

	// HandshakeTimeout bounds the handshake of a [Conn]; 0 means ten seconds.
	HandshakeTimeout time.Duration

	// NoTickets means that sessions cannot be resumed.
	NoTickets bool

	// KeyLog is told the keys of all connections, in the form that Wireshark
	// reads: whoever has it can read them. nil means nobody.
	KeyLog io.Writer

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Config returns a configuration for crypto/tls, for net/http and others that
// want one. It can be used for any number of connections. On its own it does
// not explain refusals; [Server.Conn] does.
func (s *Server) Config() (*tls.Config, error) {
	low, err := checkVersions(s.MinVersion, s.MaxVersion)
	if err != nil {
		return nil, err
	}
	if len(s.Identities) == 0 {
		return nil, errors.New("tlsx: config: a server needs an identity")
	}
	for _, id := range s.Identities {
		if _, err := id.Get(); err != nil {
			return nil, err
		}
	}
	cfg := &tls.Config{
		MinVersion:             low,
		MaxVersion:             s.MaxVersion,
		NextProtos:             slices.Clone(s.NextProtos),
		KeyLogWriter:           s.KeyLog,
		SessionTicketsDisabled: s.NoTickets,
		Time:                   s.Now,
		GetCertificate:         s.choose,
		VerifyConnection: func(state tls.ConnectionState) error {
			return checkState(state, s.verifyOptions(clock(s.Now)))
		},
	}
	if s.ClientCAs != nil {
		cfg.ClientCAs = pool(s.ClientCAs)
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		if s.ClientOptional {
			cfg.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return cfg, nil
}

func clock(now func() time.Time) time.Time {
	if now == nil {
		return time.Now()
	}
	return now()
}

// verifyOptions are what clients must satisfy.
func (s *Server) verifyOptions(now time.Time) VerifyOptions {
	return VerifyOptions{
		Roots: s.ClientCAs,
		Uses:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		Time:  now,
		CRLs:  lists(s.CRLs),
	}
}

// lists asks for revocation lists. Whoever wants them looked at and has none
// accepts nobody.
func lists(ask func() []*x509.RevocationList) []*x509.RevocationList {
	if ask == nil {
		return nil
	}
	if l := ask(); l != nil {
		return l
	}
	return []*x509.RevocationList{}
}

// checkState applies to a peer that crypto/tls has accepted, now or when a
// resumed session began, what [Verify] demands beyond that.
func checkState(state tls.ConnectionState, opts VerifyOptions) error {
	if len(state.VerifiedChains) == 0 {
		return nil // a client without a certificate, where that is allowed
	}
	opts.OCSP = nil
	if len(state.OCSPResponse) > 0 && opts.CRLs != nil {
		opts.OCSP = state.OCSPResponse
	}
	var err error
	for _, path := range state.VerifiedChains {
		if err = checkMore(path, opts); err == nil {
			return nil
		}
	}
	return err
}

// choose picks the certificate for a client.
func (s *Server) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var first, named *tls.Certificate
	for _, id := range s.Identities {
		cert, err := id.Get()
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = cert
		}
		// SupportsCertificate compares the name too, if the client gave one.
		if hello.SupportsCertificate(cert) == nil {
			named = cert
			break
		}
	}
	if named == nil {
		named = first
	}
	if rec := recordOf(hello.Context()); rec != nil {
		rec.name = hello.ServerName
		rec.own, _ = Chain(named)
	}
	return named, nil
}

// Conn makes nc a connection whose other side is a client. The handshake has
// yet to be done: by [Conn.HandshakeContext], or the first Read or Write.
func (s *Server) Conn(nc net.Conn) (*Conn, error) {
	cfg, err := s.Config()
	if err != nil {
		return nil, err
	}
	return s.conn(nc, cfg), nil
}

func (s *Server) conn(nc net.Conn, cfg *tls.Config) *Conn {
	w := &watched{Conn: nc}
	return &Conn{
		Conn:    tls.Server(w, cfg),
		nc:      w,
		timeout: s.HandshakeTimeout,
		now:     s.Now,
		rec:     record{demands: cfg.ClientAuth >= tls.RequireAnyClientCert},
		options: s.verifyOptions,
	}
}

// Listener returns a listener whose connections are of type [*Conn], with the handshake
// yet to be done, so that a slow client delays nobody's Accept. It owns ln. For
// net/http take [Server.Config] instead: it wants connections of crypto/tls.
func (s *Server) Listener(ln net.Listener) (net.Listener, error) {
	cfg, err := s.Config()
	if err != nil {
		return nil, err
	}
	return &listener{ln, s, cfg}, nil
}

type listener struct {
	net.Listener
	server *Server
	cfg    *tls.Config
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.server.conn(nc, l.cfg), nil
}

// A Client says whom the side that opens connections trusts, and how it proves
// itself. Fields must not change after the first use.
type Client struct {
	// Name is the server's name or IP address, which its certificate must
	// have. It must be set.
	Name string

	// Roots are the authorities that are trusted; nil means the system's.
	Roots []*x509.Certificate

	// Identity is sent to servers that ask for one; nil means none is.
	Identity *Identity

	// SendUnlisted sends the certificate also to a server that names the
	// authorities it trusts, none of which has signed it. By default the
	// client then withholds it, as RFC 8446 section 4.4.2.3 recommends, and the
	// server sees no certificate at all.
	SendUnlisted bool

	// MinVersion and MaxVersion are versions such as tls.VersionTLS13; 0 means
	// TLS 1.2 and the newest there is.
	MinVersion, MaxVersion uint16

	// NextProtos are the application protocols (ALPN), best first; nil means
	// that none is negotiated.
	NextProtos []string

	// CRLs is asked in every handshake for the lists of revoked servers (see
	// [VerifyOptions]); nil means that revocation is not looked at. With it, an
	// OCSP answer that the server staples counts as well.
	CRLs func() []*x509.RevocationList

	// HandshakeTimeout bounds the handshake of a [Conn]; 0 means ten seconds.
	HandshakeTimeout time.Duration

	// Sessions keeps sessions to be resumed; nil means none is.
	Sessions tls.ClientSessionCache

	// KeyLog is told the keys of all connections, in the form that Wireshark
	// reads: whoever has it can read them. nil means nobody.
	KeyLog io.Writer

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Config returns a configuration for crypto/tls, for net/http and others that
// want one. It can be used for any number of connections to the server called
// Name. On its own it does not explain refusals; [Client.Conn] does.
func (c *Client) Config() (*tls.Config, error) {
	low, err := checkVersions(c.MinVersion, c.MaxVersion)
	if err != nil {
		return nil, err
	}
	name, err := referenceName(c.Name)
	if err != nil || name == "" {
		return nil, fmt.Errorf("tlsx: config: a client needs the server's name, not %q", c.Name)
	}
	if c.Identity != nil {
		if _, err := c.Identity.Get(); err != nil {
			return nil, err
		}
	}
	return &tls.Config{
		ServerName:           name,
		RootCAs:              pool(c.Roots),
		MinVersion:           low,
		MaxVersion:           c.MaxVersion,
		NextProtos:           slices.Clone(c.NextProtos),
		ClientSessionCache:   c.Sessions,
		KeyLogWriter:         c.KeyLog,
		Time:                 c.Now,
		GetClientCertificate: c.choose,
		VerifyConnection: func(state tls.ConnectionState) error {
			return checkState(state, c.verifyOptions(clock(c.Now)))
		},
	}, nil
}

// verifyOptions are what servers must satisfy.
func (c *Client) verifyOptions(now time.Time) VerifyOptions {
	return VerifyOptions{Roots: c.Roots, Name: c.Name, Time: now, CRLs: lists(c.CRLs)}
}

// choose answers a server that asks for a certificate.
func (c *Client) choose(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	rec := recordOf(info.Context())
	if rec != nil {
		rec.asked, rec.listed = true, info.AcceptableCAs
	}
	if c.Identity == nil {
		return new(tls.Certificate), nil
	}
	cert, err := c.Identity.Get()
	if err != nil {
		return nil, err
	}
	if rec != nil {
		rec.own, _ = Chain(cert)
	}
	ask := *info
	if c.SendUnlisted {
		ask.AcceptableCAs = nil
	}
	if ask.SupportsCertificate(cert) != nil {
		if rec != nil {
			rec.withheld = true
		}
		return new(tls.Certificate), nil
	}
	return cert, nil
}

// Conn makes nc a connection whose other side is a server. The handshake has
// yet to be done: by [Conn.HandshakeContext], or the first Read or Write.
func (c *Client) Conn(nc net.Conn) (*Conn, error) {
	cfg, err := c.Config()
	if err != nil {
		return nil, err
	}
	w := &watched{Conn: nc}
	return &Conn{
		Conn:    tls.Client(w, cfg),
		nc:      w,
		client:  true,
		timeout: c.HandshakeTimeout,
		now:     c.Now,
		options: c.verifyOptions,
	}, nil
}

// A record is what one handshake leaves behind for whoever has to explain it.
type record struct {
	name     string              // the server name asked for (server)
	own      []*x509.Certificate // what we sent or could have sent
	demands  bool                // we demand a certificate (server)
	asked    bool                // we were asked for a certificate (client)
	listed   [][]byte            // the authorities that the server named (client)
	withheld bool                // ours was not sent (client)
}

// recordKey finds the record of a handshake in its context.
type recordKey struct{}

func recordOf(ctx context.Context) *record {
	rec, _ := ctx.Value(recordKey{}).(*record)
	return rec
}
