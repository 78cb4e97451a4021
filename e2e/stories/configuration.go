package stories

func configuration() []Story { return nil }
