package identity

// Occupy takes a turn at hashing until release is called.
func (p *Passwords) Occupy() (release func()) {
	p.turn <- struct{}{}
	return func() { <-p.turn }
}

// Waiting says how many wait for a turn.
func (p *Passwords) Waiting() int { return int(p.waiting.Load()) }

// SealJoinCode makes a join code with an end of the test's choice.
var SealJoinCode = sealJoinCode
