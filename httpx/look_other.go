//go:build !unix

package httpx

import "net"

// isSystemConn says that isSilent cannot look.
func isSystemConn(net.Conn) bool { return false }

func isSilent(net.Conn) bool { return false }
