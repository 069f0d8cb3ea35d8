package client

import (
	"net/http"
	"net/url"
)

// Over returns a client whose requests travel through rt: a program that holds
// the API itself calls it so, without a network between. What [New] promises
// of the connection is rt's to keep. The URL may be left out: it only names
// the server in errors then.
func Over(rt http.RoundTripper, o Options) *Client {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" {
		base = &url.URL{Scheme: "https", Host: "this-server"}
	}
	c := newClient(base, o, &http.Transport{})
	c.http.Transport = rt
	return c
}
