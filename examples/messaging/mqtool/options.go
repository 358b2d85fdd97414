package main

import (
	"errors"
	"flag"
	"math"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

// options are the values of the flags.
type options struct {
	endpoints              []endpoint
	subscriptions          []string
	identity               *string
	sendHWM, recvHWM       *int
	sendTimeout, linger    *int // milliseconds, as all the times here
	reconnect, handshake   *int
	heartbeat, heartbeatTo *int
	maxMsg                 *int
	mandatory, manual      *bool
	security               mq.Mechanism
}

// An endpoint is one --bind or --connect.
type endpoint struct {
	name string
	bind bool
}

// declare declares the flags.
func declare(fs *flag.FlagSet) *options {
	o := &options{}
	fs.Func("bind", "wait for peers at `endpoint`, tcp://127.0.0.1:PORT (* picks one) or ipc://PATH; repeatable", func(s string) error {
		o.endpoints = append(o.endpoints, endpoint{s, true})
		return nil
	})
	fs.Func("connect", "connect to `endpoint`, now or when somebody is there; repeatable", func(s string) error {
		o.endpoints = append(o.endpoints, endpoint{s, false})
		return nil
	})
	fs.Func("subscribe", "sub: receive what begins with `text`; repeatable", func(s string) error {
		o.subscriptions = append(o.subscriptions, s)
		return nil
	})
	o.identity = fs.String("identity", "", "the `text` by which a router knows this socket")
	o.sendHWM = cli.Number(fs, "sndhwm", 1000, 0, math.MaxInt32, "keep so many unsent `messages` for each peer; 0, any number")
	o.recvHWM = cli.Number(fs, "rcvhwm", 1000, 0, math.MaxInt32, "keep so many unread `messages` of each peer; 0, any number")
	millis := func(name string, value, lo int, usage string) *int {
		return cli.Number(fs, name, value, lo, math.MaxInt32, usage)
	}
	o.sendTimeout = millis("sndtimeo", -1, -1, "a send blocks for at most so many `ms`; -1, for ever")
	o.linger = millis("linger", 1000, -1, "closing waits at most so many `ms` for unsent messages; -1, for ever")
	o.reconnect = millis("reconnect", 100, 1, "the first try to connect again comes after so many `ms`, later ones after up to ten times that")
	o.handshake = millis("handshake", 30000, 0, "a handshake takes at most so many `ms`; 0, any time")
	o.heartbeat = millis("heartbeat", 0, 0, "send a PING every so many `ms`; 0, never")
	o.heartbeatTo = millis("heartbeat-timeout", 0, 0, "a peer that is silent for so many `ms` after a PING is dead; 0, the interval")
	o.maxMsg = cli.Number(fs, "maxmsg", -1, -1, math.MaxInt32, "a longer incoming frame than so many `bytes` closes its connection; -1, no limit")
	o.mandatory = fs.Bool("mandatory", false, "router: a message to an unknown peer is an error, not dropped")
	o.manual = fs.Bool("manual", false, "receive only on the operation recv; rep does not echo")
	o.securityFlags(fs)
	return o
}

// securityFlags declares the flags of PLAIN and CURVE, of which there may be one.
func (o *options) securityFlags(fs *flag.FlagSet) {
	mechanism := func(name, usage string, parse func(string) (mq.Mechanism, error)) {
		fs.Func(name, usage, func(s string) error {
			if o.security != nil {
				return errors.New("only one mechanism, please")
			}
			m, err := parse(s)
			o.security = m
			return err
		})
	}
	mechanism("plain-server", "admit only clients with these `user:pass`", func(s string) (mq.Mechanism, error) {
		user, password, ok := strings.Cut(s, ":")
		if !ok {
			return nil, errors.New("want USER:PASS")
		}
		return &mq.PlainServer{Users: map[string]string{user: password}}, nil
	})
	mechanism("plain-client", "say these `user:pass` to the server", func(s string) (mq.Mechanism, error) {
		user, password, ok := strings.Cut(s, ":")
		if !ok {
			return nil, errors.New("want USER:PASS")
		}
		return &mq.PlainClient{Username: user, Password: password}, nil
	})
	mechanism("curve-server", "encrypt as a server with the secret `key` (Z85), for any client", func(s string) (mq.Mechanism, error) {
		key, err := mq.ParseCurveKey(s)
		return &mq.CurveServer{SecretKey: key}, err
	})
	mechanism("curve-client", "encrypt as a client with the `keys` SERVERKEY,PUBLIC,SECRET (Z85)", func(s string) (mq.Mechanism, error) {
		parts := strings.Split(s, ",")
		if len(parts) != 3 {
			return nil, errors.New("want SERVERKEY,PUBLIC,SECRET")
		}
		var keys [3]mq.CurveKey
		for i, part := range parts {
			var err error
			if keys[i], err = mq.ParseCurveKey(part); err != nil {
				return nil, err
			}
		}
		if keys[2].Public() != keys[1] {
			return nil, errors.New("PUBLIC does not belong to SECRET")
		}
		return &mq.CurveClient{ServerKey: keys[0], SecretKey: keys[2]}, nil
	})
}

// config returns what the flags say to a socket of type typ.
func (o *options) config(fs *flag.FlagSet, typ mq.Type) (*mq.Config, error) {
	switch {
	case len(o.endpoints) == 0:
		return nil, cli.Usagef("--bind or --connect says where the peers are; both are missing")
	case len(o.subscriptions) > 0 && typ != mq.SUB && typ != mq.XSUB:
		return nil, cli.Usagef("--subscribe is for sub and xsub, not for %v", typ)
	case *o.mandatory && typ != mq.ROUTER:
		return nil, cli.Usagef("--mandatory is for router, not for %v", typ)
	case *o.maxMsg == 0:
		return nil, cli.Usagef("--maxmsg 0 would let nothing in; -1 means no limit")
	case len(*o.identity) > 255:
		return nil, cli.Usagef("--identity has at most 255 bytes")
	case cli.Given(fs, "identity") && (*o.identity == "" || (*o.identity)[0] == 0):
		return nil, cli.Usagef("--identity may not be empty or begin with a zero byte")
	}
	return &mq.Config{
		Identity:          []byte(*o.identity),
		SendHWM:           orNone(*o.sendHWM),
		RecvHWM:           orNone(*o.recvHWM),
		Linger:            o.lingers(),
		ReconnectMin:      milliseconds(*o.reconnect),
		ReconnectMax:      10 * milliseconds(*o.reconnect),
		HandshakeTimeout:  milliseconds(orNone(*o.handshake)),
		HeartbeatInterval: milliseconds(*o.heartbeat),
		HeartbeatTimeout:  milliseconds(*o.heartbeatTo),
		MaxFrame:          *o.maxMsg,
		MaxSize:           -1,
		MaxConns:          1 << 16, // strangers too: tests come with many
		Mandatory:         *o.mandatory,
		Security:          o.security,
	}, nil
}

// lingers turns --linger into what package mq understands.
func (o *options) lingers() time.Duration {
	switch *o.linger {
	case -1:
		return math.MaxInt64 // 292 years
	case 0:
		return -1
	}
	return milliseconds(*o.linger)
}

// orNone turns the 0 of the command line, no limit, into that of package mq.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }
