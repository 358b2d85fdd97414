// Package tlsx is for trust between programs: certificates made, checked and
// explained, TLS connections that say why they were refused, and a look at what
// strangers see of them.
//
// Start with [NewAuthority] if certificates are to be made, with [Verify] if one
// is to be understood, and with [Client] and [Server] for connections:
//
//	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Root"}})
//	cert, err := root.Issue(tlsx.Template{Names: []string{"shop.test"}})
//	server := &tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}}
//	client := &tlsx.Client{Name: "shop.test", Roots: []*x509.Certificate{root.Cert}}
//
// The cryptography is that of crypto/tls and crypto/x509, and so are the types:
// [Server.Config] and [Client.Config] are for whatever takes a *tls.Config.
//
// # The idea
//
// Encryption is worth nothing to who does not know with whom. A public key could
// be anybody's; a certificate is a statement, signed by an authority, that a key
// belongs to a name. The authority's own key is certified by another, and so on
// up to one that we trust because somebody put it on our list: a root. So the
// check is a walk up a path, and at each step there are rules: is the signature
// good, is it the right time, may this one sign others, and how many levels of
// them? At the bottom: is the name the one that we wanted, and the use?
//
// When a rule fails, TLS tells the other side one byte, an alert, and
// implementations disagree about which. Here every refusal is a [RefusalError],
// with the certificate, the rule and the values compared. Whoever was refused
// looks at its own certificate through the eyes of the other side.
//
// # The picture
//
//	        Root              we trust it; it signs itself, is not sent
//	         | signs
//	    Intermediate          path length 0: signs leaves only
//	      /       \
//	 server.test   jose       leaves: one for servers, one for clients
//
//	client                                            server
//	  | ClientHello  in clear: name, versions, suites -> |
//	  | <- ServerHello  in clear: the choice             |
//	  | <- {Certificate: leaf, intermediate}             |
//	Verify   {..} is encrypted in TLS 1.3, not in 1.2    |
//	  | {Certificate, if one was asked for} -----------> |
//	  | {Finished} ------------------------------------> |
//	the client may speak                              Verify
//	  | <- alert, if the server refuses; later, in 1.3   |
//
// # Wire format
//
// Files are PEM: base64 of DER between lines that name what it is. A chain is
// several, leaf first, without the root. Keys are PKCS#8. A connection is a row
// of records, numbers most significant byte first:
//
//	+------+---------+--------+-----------------------------+
//	| type | version | length | fragment: length bytes      |  record
//	|  1   |    2    |   2    | at most 2^14, 2^14+2048     |
//	+------+---------+--------+-----------------------------+
//	| type |    length, 3     | body                        |  handshake
//	+------+------------------+-----------------------------+  message
//
// The first record of a connection, with a ClientHello of 47 bytes (here
// without extensions, which TLS 1.3 would need):
//
//	16 0301 002f                  handshake, claims TLS 1.0, 47 bytes
//	01 00002b                     ClientHello, 43 bytes
//	0303 0707..07 (32)            TLS 1.2 or newer, random
//	00                            no session
//	0004 1301 c02b                two suites
//	01 00                         no compression
//
// # Pitfalls
//
//   - A common name and no alternative name: TestCommonNameDoesNotCount.
//   - A server that sends its leaf and not the intermediate: TestReasons.
//   - Any holder of a certificate signing others: TestLeafAsAuthority.
//   - Believing the alert: TestServerRefused, six faults and one number.
//   - A client that keeps its certificate to itself, so that the server sees
//     none: TestWithheld.
//   - A handshake that went well, and a refusal with the first read:
//     TestClientRefused; or a reset in its place, TestEarlyWriter.
//   - Taking over what a request claims: TestRequestNameKinds, TestOpenSSLRequest.
//   - Files that cost hours before their passphrase proves wrong:
//     TestKeyWorkBounded.
//   - Certificate and key replaced one after the other: TestReload.
//   - A neighbour's answer to whether a certificate is revoked:
//     TestOCSPNeighbour; a list of only some, TestPartialCRL; a session that
//     outlives its certificate, TestRevokedResumption.
//   - Thinking that TLS hides whom one speaks with: TestEavesdropper.
//   - Text in a certificate that steers the terminal: TestHostileNames.
//
// # Limits and security
//
// TLS 1.2 is the least, 1.3 the default; a client always checks the name. A chain
// has at most 16 certificates, a file 4 MiB and 2,000 certificates, a handshake
// ten seconds. Key derivation is at most 10,000,000 rounds of PBKDF2 or 256 MiB
// of scrypt when reading, at least 600,000 rounds when writing. A [Tap] keeps
// at most one message, of 256 KiB, in each direction. Keys for Wireshark are
// written only when asked for.
//
// Revocation is looked at when lists are given, and then without them nothing is
// accepted; nobody fetches lists or asks OCSP servers, delta and indirect lists
// count for nothing. Certificate transparency, policies, and name constraints on
// directory names are not checked; PKCS#12 needs PBES2. Session tickets and ALPN
// are as crypto/tls has them; revocation is looked at again when a session is
// resumed. An authority keeps no register of what it signed, and its key lies
// in memory. An alert that OpenSSL sends in clear under
// TLS 1.3 is believed, but only as the reason of a failure.
//
// # Exercises
//
//	go run ./examples run T1     an authority, requests, revocation
//	go run ./examples run T2     both sides prove themselves
//	go run ./examples run T3     what an eavesdropper sees
//	go run ./examples run T4     certificates read, the hierarchy drawn
//	go run ./examples run T5     a remote shell
//	go run ./examples run T6     tampering, and what notices
//	go run ./examples run T7     serve and connect, good and faulty
//	go run ./examples run T8     public keys by hand
//
// # References
//
//   - [RFC 5280 section 6.1] the rules of the path
//   - [RFC 9525] names of services
//   - [RFC 8446] TLS 1.3, and [RFC 5246] TLS 1.2
//   - [RFC 8018] keys from passphrases, [RFC 7292] PKCS#12
//   - [RFC 6960] OCSP, [RFC 8701] GREASE
//
// # Reading path
//
// ca.go and verify.go: what an authority puts into a certificate, and what is
// asked of it later. The explaining goes through the same steps.
//
// [RFC 5280 section 6.1]: https://www.rfc-editor.org/rfc/rfc5280#section-6.1
// [RFC 9525]: https://www.rfc-editor.org/rfc/rfc9525
// [RFC 8446]: https://www.rfc-editor.org/rfc/rfc8446
// [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
// [RFC 8018]: https://www.rfc-editor.org/rfc/rfc8018
// [RFC 7292]: https://www.rfc-editor.org/rfc/rfc7292
// [RFC 6960]: https://www.rfc-editor.org/rfc/rfc6960
// [RFC 8701]: https://www.rfc-editor.org/rfc/rfc8701
package tlsx
