//go:build !linux

package hosts

import (
	"errors"
	"fmt"
	"net/netip"
)

func newSystemStack(netip.Addr, int, string, func([]byte)) (tcpip, error) {
	return nil, fmt.Errorf("only Linux can give a program another TCP/IP stack: %w", errors.ErrUnsupported)
}
