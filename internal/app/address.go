package app

import (
	"net"
	"os"

	"strongroom/internal/app/config"
)

// address is where people reach the installation, as far as it can know: what
// the operator set, else its first name, else where it listens.
func address(cfg config.Config, listening net.Addr) string {
	if cfg.URL != "" {
		return trimSlash(cfg.URL)
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if listening != nil {
		host, port, err = net.SplitHostPort(listening.String())
	}
	if err != nil {
		return ""
	}
	switch ip := net.ParseIP(host); {
	case len(cfg.Names) > 0:
		host = cfg.Names[0]
	case host == "" || ip != nil && ip.IsUnspecified():
		if host, err = os.Hostname(); err != nil {
			host = "localhost"
		}
	}
	if port == "443" {
		if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
			host = "[" + host + "]"
		}
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, port)
}

func trimSlash(u string) string {
	for len(u) > 0 && u[len(u)-1] == '/' {
		u = u[:len(u)-1]
	}
	return u
}
