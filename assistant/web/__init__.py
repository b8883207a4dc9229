"""The only home of Flask: validate, authorise, call one service, render. One module per audience."""
