"""Pictures to play with in a notebook."""

# %% plots.animate
import gradxform as gx

land, methods = gx.landscapes.rosenbrock, {"adam": gx.adam(0.1), "sgd": gx.sgd(1e-3, momentum=0.9)}
runs = {name: gx.minimise(land, land.start, tx, steps=300) for name, tx in methods.items()}
gx.plots.animate(land, runs)  # plays in a notebook; its save("paths.html") writes a page

# %% plots.Animation
import gradxform as gx

land = gx.landscapes.beale
runs = {"adam": gx.minimise(land, land.start, gx.adam(0.1), steps=200)}
animation: gx.plots.Animation = gx.plots.animate(land, runs, seconds=4.0)
print(animation.title, len(animation.html))

# %% plots.sliders
import gradxform as gx


def draw(ax, rate):
    valley = gx.landscapes.ravine()
    gx.plots.paths(valley, {"sgd": gx.minimise(valley, valley.start, gx.sgd(rate), steps=50)}, ax)


gx.plots.sliders(draw, rate=(0.1, 1.0, 1.9))

# %% plots.Sliders
import gradxform as gx


def draw(ax, alpha):
    gx.plots.schedules(gx.cosine_decay_schedule(3e-4, 1000, alpha=alpha), 1001, ax)


sliders: gx.plots.Sliders = gx.plots.sliders(draw, alpha=(0.0, 0.1, 0.5))
print(sliders.values)
