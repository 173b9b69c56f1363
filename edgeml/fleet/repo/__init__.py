"""The publisher's repository: keys, signed releases, staged rollouts, and how they get out."""
