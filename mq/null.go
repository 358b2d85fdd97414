package mq

// null is the mechanism NULL ([RFC 37]): each end says READY with its metadata.
//
// [RFC 37]: https://rfc.zeromq.org/spec/37/
type null struct{}

func (null) name() string            { return "NULL" }
func (null) server() bool            { return false }
func (null) check() error            { return nil }
func (null) begin(me local) dialogue { return &nullDialogue{me: me} }

// nullDialogue is one handshake of it. The end that connected speaks first.
type nullDialogue struct {
	me   local
	them *peerInfo
}

func (d *nullDialogue) open() []byte {
	if d.me.accepted {
		return nil
	}
	return d.ready()
}

func (d *nullDialogue) ready() []byte { return d.me.metadata(appendCommand(nil, cmdReady)) }

func (d *nullDialogue) reply(command []byte) ([]byte, error) {
	data, err := expect(command, cmdReady)
	if err != nil {
		return nil, err
	}
	them, reason, err := d.me.meet(data)
	if err != nil {
		return appendErrorCommand(nil, reason), err
	}
	d.them = them
	if d.me.accepted {
		return d.ready(), nil
	}
	return nil, nil
}

func (d *nullDialogue) result() (*peerInfo, cipher) { return d.them, nil }
