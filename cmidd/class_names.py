"""What the published data sets call their classes, in the order of their labels, for files that do not say it."""

_NAMES = {
    "mnist": "0 - zero,1 - one,2 - two,3 - three,4 - four,5 - five,6 - six,7 - seven,8 - eight,9 - nine",
    "fashion_mnist": "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot",
    "svhn": "0,1,2,3,4,5,6,7,8,9",
    "cifar10": "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck",
    "cifar100": "apple,aquarium_fish,baby,bear,beaver,bed,bee,beetle,bicycle,bottle,bowl,boy,bridge,bus,butterfly,"
    "camel,can,castle,caterpillar,cattle,chair,chimpanzee,clock,cloud,cockroach,couch,crab,crocodile,cup,dinosaur,dolphin,"
    "elephant,flatfish,forest,fox,girl,hamster,house,kangaroo,keyboard,lamp,lawn_mower,leopard,lion,lizard,lobster,man,"
    "maple_tree,motorcycle,mountain,mouse,mushroom,oak_tree,orange,orchid,otter,palm_tree,pear,pickup_truck,pine_tree,"
    "plain,plate,poppy,porcupine,possum,rabbit,raccoon,ray,road,rocket,rose,sea,seal,shark,shrew,skunk,skyscraper,snail,"
    "snake,spider,squirrel,streetcar,sunflower,sweet_pepper,table,tank,telephone,television,tiger,tractor,train,trout,"
    "tulip,turtle,wardrobe,whale,willow_tree,wolf,woman,worm",
}
CLASS_NAMES = {name: tuple(names.split(",")) for name, names in _NAMES.items()}
