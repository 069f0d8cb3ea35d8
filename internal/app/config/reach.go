package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"time"
)

func firstOf(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return firstOf(all.Unwrap()[0])
	}
	return err
}

// checkReach checks how the server is reached, and by whom its certificate is
// given.
func (c *Config) checkReach() error {
	if c.URL != "" {
		u, err := httpsURL("url", c.URL)
		if err != nil {
			return err
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return errors.New("url: must be https://HOST or https://HOST:PORT, without a path")
		}
	}
	if c.ACME.Directory != "" {
		if _, err := httpsURL("acme.directory", c.ACME.Directory); err != nil {
			return err
		}
		switch {
		case c.TLS.Certificate != "":
			return errors.New("acme.directory and tls.certificate: set one of them")
		case !c.ACME.AcceptTerms:
			return errors.New("acme.accept_terms: must be true, as the authority gives no certificate to who does not accept its terms")
		case len(c.ACMENames()) == 0:
			return errors.New("names: must hold a DNS name that the ACME authority can reach, since acme.directory is set")
		}
	}
	if c.ACME.Email != "" {
		if err := checkEmail("acme.email", c.ACME.Email); err != nil {
			return err
		}
	}
	if c.Metrics.Listen != "" {
		if err := checkAddress("metrics.listen", c.Metrics.Listen); err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(c.Metrics.Listen)
		// It speaks plain HTTP to whoever asks, which ENC-4 allows on this
		// machine alone.
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errors.New("metrics.listen: must be a loopback address, such as 127.0.0.1:9464; put a TLS proxy before it for other machines")
		}
	}
	return nil
}

// ACMENames are the names that an ACME authority is asked for: a wildcard
// takes proof by DNS, and IP addresses and the machine's local names none of
// them gives.
func (c *Config) ACMENames() (names []string) {
	for _, n := range c.Names {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if net.ParseIP(n) == nil && !strings.HasPrefix(n, "*") && n != "localhost" && strings.Contains(n, ".") {
			names = append(names, n)
		}
	}
	return names
}

func (c *Config) checkMail() error {
	if c.Mail.TLS != "starttls" && c.Mail.TLS != "implicit" {
		return errors.New("mail.tls: must be starttls or implicit; mail is not sent without TLS")
	}
	if c.Mail.From != "" {
		if err := checkEmail("mail.from", c.Mail.From); err != nil {
			return err
		}
	}
	if c.Mail.SMTP != "" {
		if err := checkAddress("mail.smtp", c.Mail.SMTP); err != nil {
			return err
		}
		if c.Mail.From == "" {
			return errors.New("mail.from: must be set, since mail.smtp is")
		}
	}
	if (c.Mail.User == "") != (c.Mail.PasswordFile == "") {
		return errors.New("mail.user and mail.password_file: set both or neither")
	}
	return nil
}

func (c *Config) checkAlarms() error {
	for _, a := range c.Alarms.Mail {
		if err := checkEmail("alarms.mail", a); err != nil {
			return err
		}
	}
	if c.Alarms.Webhook != "" {
		if _, err := httpsURL("alarms.webhook", c.Alarms.Webhook); err != nil {
			return err
		}
	}
	if (c.Alarms.Webhook == "") != (c.Alarms.WebhookSecretFile == "") {
		return errors.New("alarms.webhook and alarms.webhook_secret_file: set both or neither")
	}
	if _, err := c.AlarmsAgain(); err != nil {
		return err
	}
	return nil
}

// AlarmsAgain returns how long until an alarm that lasts is sent again.
func (c *Config) AlarmsAgain() (time.Duration, error) {
	d, err := time.ParseDuration(c.Alarms.Again)
	if err != nil || d < 10*time.Minute || d > 30*24*time.Hour {
		return 0, errors.New("alarms.again: must be a duration from 10m to 720h, such as 24h")
	}
	return d, nil
}

func httpsURL(key, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%s: must be an https URL, such as https://host.example/path", key)
	}
	return u, nil
}

func checkEmail(key, text string) error {
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return fmt.Errorf("%s: must be an e-mail address, such as ops@lab.example", key)
	}
	return nil
}
